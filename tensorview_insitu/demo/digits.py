"""The embedded data: scikit-learn's handwritten digits, 1797 real 8 x 8 images of ten classes."""

from __future__ import annotations

import numpy as np

from tensorview_insitu.demo.samples import Samples


def load_digits() -> Samples:
    """The digits, grey in 0..1.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            "The demo's digits come with scikit-learn: pip install 'tensorview-insitu[demo]'"
        ) from None
    digits = datasets.load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., None]
    return Samples(images, digits.target.astype(np.int32), [str(name) for name in digits.target_names])
