"""What can be recorded, one quantity a file."""

from .biases import Biases as Biases
from .gradient_norms import GradientNorms as GradientNorms
from .kernels import Kernels as Kernels
from .metrics import Metrics as Metrics
from .quantity import LayerVariables as LayerVariables
from .quantity import Quantity as Quantity
