"""Open a picture by what it is, not by what it is called: a few formats, one picture, of a bounded size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tensorview_insitu.loading.plain_file import ForeignFileError, open_plain

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow knows some forty; one of them, EPS, hands the file to Ghostscript, which is a programming language.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
MOST_PIXELS = 100_000_000


def open_picture(path: Path) -> Image:
    """The picture in a file, decoded.

    A palette is its colours; of 16 bits all are kept. Where it is transparent, nobody has said what is
    behind it.

    Raises:
        ForeignFileError: it is no picture, more than one, partly transparent, damaged, or has too many
            pixels.
        OSError: it is missing or cannot be read.
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError("Pictures need Pillow: pip install 'tensorview-insitu[explain]'") from None
    with open_plain(path) as file, warnings.catch_warnings():
        # Of a picture that is too large, or damaged where it does not matter, Pillow warns.
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=FORMATS) as picture:
                _check(picture, path)
                picture.load()
                found = picture.copy()
        except ForeignFileError:
            raise
        except UnidentifiedImageError:
            raise ForeignFileError(
                f"Expected a picture. Received: {path}, which is none of {', '.join(FORMATS)}."
            ) from None
        except Exception as error:  # what a damaged picture makes a decoder raise has no common type
            raise ForeignFileError(
                f"Expected a picture that can be read. Received: {path} ({error})"
            ) from None
    if found.has_transparency_data and found.convert("RGBA").getextrema()[3][0] < 255:
        raise ForeignFileError(
            f"{path} is partly transparent. Expected a picture on a background: flatten it first."
        )
    return found


def _check(picture: Image, path: Path) -> None:
    if picture.width * picture.height > MOST_PIXELS:
        raise ForeignFileError(
            f"{path} has {picture.width} x {picture.height} pixels. Expected at most {MOST_PIXELS:,} in all."
        )
    # A JPEG of a telephone (MPO) has its own previews behind it.
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":
        raise ForeignFileError(f"{path} holds {count} pictures. Expected one: save the one that is meant.")
