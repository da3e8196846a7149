"""Take numbers out of a running `fit` without changing it."""

from .quantities import Biases as Biases
from .quantities import GradientNorms as GradientNorms
from .quantities import Kernels as Kernels
from .quantities import Metrics as Metrics
from .recorder import InSituRecorder as InSituRecorder
