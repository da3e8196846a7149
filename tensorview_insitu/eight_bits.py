"""Grey pictures of more than eight bits, scaled to eight: Pillow's own conversion cuts them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def eight_bits(picture: Image) -> Image:
    """The picture itself, or a grey one in which its brightest value is 255 and zero stays black.

    Args:
        picture: in any mode of Pillow; those of 16 or 32 bits and of floats are scaled.
    """
    if not picture.mode.startswith(("I", "F")):
        return picture
    from PIL import Image as Pillow

    deep = np.asarray(picture, np.float64)
    low, high = min(0.0, float(deep.min())), float(deep.max())
    return Pillow.fromarray(((deep - low) / max(high - low, 1e-12) * 255).astype(np.uint8))
