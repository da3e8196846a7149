"""What can be recorded, one quantity a file."""

from .activations import Activations as Activations
from .biases import Biases as Biases
from .explanations import Explanations as Explanations
from .gradient_norms import GradientNorms as GradientNorms
from .gradients import FilterGradientNorms as FilterGradientNorms
from .gradients import Gradients as Gradients
from .kernels import Kernels as Kernels
from .layer_variables import LayerVariables as LayerVariables
from .metrics import Metrics as Metrics
from .normalization import Normalization as Normalization
from .numbers import Numbers as Numbers
from .quantity import Probed as Probed
from .quantity import Quantity as Quantity
from .quantity import UpdateQuantity as UpdateQuantity
from .reductions import Histogram as Histogram
from .reductions import Statistics as Statistics
from .update_norms import UpdateNorms as UpdateNorms
from .variables import Thinning as Thinning
from .variables import Variables as Variables
