"""Take numbers out of a running `fit` without changing it."""

from .budget import Budget as Budget
from .quantities import Activations as Activations
from .quantities import Biases as Biases
from .quantities import Explanations as Explanations
from .quantities import FilterGradientNorms as FilterGradientNorms
from .quantities import GradientNorms as GradientNorms
from .quantities import Gradients as Gradients
from .quantities import Histogram as Histogram
from .quantities import Kernels as Kernels
from .quantities import Metrics as Metrics
from .quantities import Normalization as Normalization
from .quantities import Numbers as Numbers
from .quantities import Statistics as Statistics
from .quantities import UpdateNorms as UpdateNorms
from .recorder import InSituRecorder as InSituRecorder
from .render import Render as Render
from .schedule import every_epochs as every_epochs
from .schedule import first_then as first_then
from .schedule import log_spaced as log_spaced
