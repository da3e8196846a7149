"""The snapshots of a variable as image data over time."""

from __future__ import annotations

from collections.abc import Callable

from tensorview_insitu.export.files import Target, finite_range
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.pieces import cells_by_filter, grid_of
from tensorview_insitu.export.time_series import write_time_series
from tensorview_insitu.index import Range, VariableIndex
from tensorview_insitu.run.reader import Snapshots
from tensorview_insitu.text.array_names import array_name


class VariableWriter:
    """Image data of one variable over time: x = filter, y = column, z = row; an array per channel.

    Its files begin with `stem`.
    """

    def __init__(self, target: Target, folder: str, variable: str, stem: str) -> None:
        self._target, self._folder, self._variable, self._stem = target, folder, variable, stem
        self._files: list[tuple[float, float, str]] = []
        self._ranges: list[Range] = []
        self._about: Snapshots | None = None
        self._arrays: list[str] = []

    def add(self, snapshots: Snapshots, wrote: Callable[[], None]) -> None:
        """Write more snapshots; `wrote` is called after each."""
        self._about = snapshots
        self._ranges.append(finite_range(snapshots.values))
        grid = grid_of(snapshots)
        across = grid[-1] if grid else 1
        values = cells_by_filter(snapshots)
        names = self._names(values.shape[2])
        for values_then, step, epoch in zip(values, snapshots.steps, snapshots.epochs, strict=True):
            name = f"{self._stem}_{step:07d}.vti"
            if self._target.lacks(f"{self._folder}/{name}", names, grid, values_then):
                boxes = values_then.reshape(
                    -1, across, *values_then.shape[1:]
                )  # row, column, channel, filter
                arrays = {array: boxes[:, :, c].transpose(2, 1, 0) for c, array in enumerate(names)}
                write_image_data(self._target.path(f"{self._folder}/{name}"), arrays)
            self._files.append((float(epoch), float(step), name))
            wrote()

    def finish(self) -> VariableIndex:
        """Write which file holds which time."""
        assert self._about is not None
        file = f"{self._folder}/{self._stem}.pvd"
        return {
            "name": self._variable,
            "file": write_time_series(self._target, file, self._files),
            "arrays": self._arrays,
            "dims": list(self._about.dims[1:]),
            "shape": list(self._about.values.shape[1:]),
            "range": finite_range(self._ranges),
        }

    def _names(self, channels: int) -> list[str]:
        # A bias or a gamma has no input channels; a kernel has one array for each.
        if self._variable.endswith("kernel"):
            self._arrays = [f"weight_{c}" for c in range(channels)]
        else:
            name = array_name(self._variable)
            self._arrays = [name] if channels == 1 else [f"{name}_{c}" for c in range(channels)]
        return self._arrays
