"""A disk that fills up while a program writes."""

import io


def fill_up(monkeypatch, works: int) -> list[int]:
    """Files opened from now on take so many writes, then the disk is full; the sizes of all of them."""
    sizes: list[int] = []

    class File(io.FileIO):
        def write(self, data):
            sizes.append(len(data))
            if len(sizes) > works:
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(io, "FileIO", File)
    return sizes
