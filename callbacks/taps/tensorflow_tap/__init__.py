"""The tap for the TensorFlow backend."""

from .predictions import TensorFlowPredictionTap as TensorFlowPredictionTap
from .tap import TensorFlowTap as TensorFlowTap
