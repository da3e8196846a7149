"""How the values of a variable are spread, over time: density as a surface, quantiles as lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.horizon import Horizon
from tensorview_insitu.export.pieces import Pieces
from tensorview_insitu.export.poly_data import grid_quads, write_poly_data
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import DistributionIndex, Range

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 80
_MOST_ROWS = 100  # epochs of the surface


class Distribution:
    """Writes the distributions of one variable, from all its values.

    Args:
        target: where to.
        base: what the names of its files begin with, as `layers/conv1/distribution_kernel`.
        layer: its name.
        variable: its name.
        extent: the range of all its values.
        horizon: how far the training is to go.
    """

    def __init__(
        self, target: Target, base: str, layer: str, variable: str, extent: Range, horizon: Horizon
    ) -> None:
        self._target, self._base, self._horizon = target, base, horizon
        self._layer, self._variable = layer, variable
        low, high = extent
        self._edges = (
            np.linspace(low, high, _BINS + 1) if low < high else low + np.linspace(-0.5, 0.5, _BINS + 1)
        )

    def of(self, pieces: Pieces) -> DistributionIndex | None:
        """Write them; None where no value is finite."""
        shown = set(spread(len(pieces.keep), _MOST_ROWS).tolist())
        steps, epochs, densities, quantiles = [], [], [], []
        number, size = 0, 0
        for snapshots in pieces:
            for values, step, epoch in zip(snapshots.values, snapshots.steps, snapshots.epochs, strict=True):
                finite = values[np.isfinite(values)]
                if number in shown and len(finite):
                    steps.append(int(step))
                    epochs.append(float(epoch))
                    densities.append(np.histogram(finite, self._edges, density=True)[0])
                    quantiles.append(np.quantile(finite, QUANTILES))
                    size = values.size
                number += 1
        if not steps:
            return None
        return self._write(steps, np.array(epochs), np.array(densities), np.array(quantiles), size)

    def _write(
        self,
        steps: list[int],
        epochs: NDArray[np.float64],
        density: NDArray[np.float64],
        quantiles: NDArray[np.float64],
        size: int,
    ) -> DistributionIndex:
        target = self._target
        centres = (self._edges[:-1] + self._edges[1:]) / 2
        base = self._base
        _write_surface(target, f"{base}.vtp", centres, epochs, density)
        _write_quantiles(target, f"{base}_quantiles.vtp", quantiles, epochs, centres, density)
        moments = []
        for step, epoch, row in zip(steps, epochs, density, strict=True):
            file = f"{base}_{step:07d}.vtp"
            _write_ridge(target, file, centres, float(epoch), row)
            moments.append((float(epoch), float(step), file.rsplit("/", 1)[1]))
        return {
            "layer": self._layer,
            "variable": self._variable,
            "surface": f"{base}.vtp",
            "lines": f"{base}_quantiles.vtp",
            "now": write_time_series(target, f"{base}_now.pvd", moments),
            "quantiles": list(QUANTILES),
            "value_range": (float(self._edges[0]), float(self._edges[-1])),
            "density_range": finite_range(density),
            "epoch_range": self._horizon.epoch_range(finite_range(epochs)),
            "values": size,
            "times": times_of(moments),
        }


def _write_surface(
    target: Target,
    file: str,
    centres: NDArray[np.float64],
    epochs: NDArray[np.float64],
    density: NDArray[np.float64],
) -> None:
    value, epoch = np.meshgrid(centres, epochs)
    flat = density.ravel().astype(np.float32)
    write_poly_data(
        target.path(file),
        np.column_stack([value.ravel(), epoch.ravel(), np.zeros(value.size)]),
        quads=grid_quads(len(centres), len(epochs)),
        point_data={
            "density": flat,
            "height": flat,
            "value": value.ravel().astype(np.float32),
            "epoch": epoch.ravel().astype(np.float32),
        },
    )


def _write_ridge(
    target: Target, file: str, centres: NDArray[np.float64], epoch: float, density: NDArray[np.float64]
) -> None:
    write_poly_data(
        target.path(file),
        np.column_stack([centres, np.full(len(centres), epoch), np.zeros(len(centres))]),
        lines=[np.arange(len(centres))],
        point_data={"height": density.astype(np.float32), "epoch": np.full(len(centres), epoch, np.float32)},
    )


def _write_quantiles(
    target: Target,
    file: str,
    quantiles: NDArray[np.float64],
    epochs: NDArray[np.float64],
    centres: NDArray[np.float64],
    density: NDArray[np.float64],
) -> None:
    # On the surface, so that they can be seen from above.
    heights = np.array([np.interp(q, centres, d) for q, d in zip(quantiles, density, strict=True)])
    rows, count = quantiles.shape
    write_poly_data(
        target.path(file),
        np.column_stack([quantiles.T.ravel(), np.tile(epochs, count), np.zeros(rows * count)]),
        lines=[np.arange(rows) + i * rows for i in range(count)] if rows > 1 else [],
        vertices=rows == 1,
        point_data={
            "height": heights.T.ravel().astype(np.float32),
            "quantile": np.repeat(np.array(QUANTILES, np.float32), rows),
            "epoch": np.tile(epochs, count).astype(np.float32),
        },
    )
