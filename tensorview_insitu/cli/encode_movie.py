"""Pictures to a movie, as a program: python encode_movie.py MOVIE.ogv PICTURE.png ...

Ogg Theora, which VTK brings; nothing is rendered, so it needs neither a display nor ParaView.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from vtkmodules.vtkIOImage import vtkPNGReader
from vtkmodules.vtkIOOggTheora import vtkOggTheoraWriter

_FRAMES_PER_SECOND = 5


def encode(movie: str, pictures: Sequence[str]) -> None:
    """Write `movie` under a temporary name, then rename it."""
    temporary = f"{movie}.tmp.ogv"
    reader = vtkPNGReader()
    writer = vtkOggTheoraWriter()
    writer.SetFileName(temporary)
    writer.SetRate(_FRAMES_PER_SECOND)
    writer.SetInputConnection(reader.GetOutputPort())
    reader.SetFileName(pictures[0])
    reader.Update()
    writer.Start()
    for picture in pictures:
        reader.SetFileName(picture)
        reader.Modified()
        reader.Update()
        writer.Write()
    writer.End()
    os.replace(temporary, movie)


if __name__ == "__main__":
    encode(sys.argv[1], sys.argv[2:])
