"""An array of NumPy's out of whatever a backend holds."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray


def to_numpy(value: Any) -> NDArray[Any]:
    """The values of a tensor, or of a variable.

    A variable is read into a tensor first: NumPy 2 warns of the way in which Keras 3 hands it the
    variable itself, and a warning may be an error.
    """
    tensor = keras.ops.convert_to_tensor(value)
    if hasattr(tensor, "read_value"):  # Keras takes TensorFlow's own variables for tensors
        tensor = tensor.read_value()
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":  # NumPy does not know it
        tensor = keras.ops.cast(tensor, "float32")
    array: NDArray[Any] = keras.ops.convert_to_numpy(tensor)
    return array
