"""Tiny data, drawn once: pictures, sequences, tables."""

from __future__ import annotations

import numpy as np

SAMPLES, BATCH = 14, 4  # three whole batches and one of two
_draw = np.random.default_rng(7)

IMAGES = _draw.random((SAMPLES, 4, 4, 1), np.float32)
LABELS = _draw.integers(0, 3, SAMPLES).astype(np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
BINARY = (IMAGES.mean(axis=(1, 2, 3)) > 0.5).astype(np.float32)[:, None]
TABLE = _draw.normal(size=(SAMPLES, 5)).astype(np.float32)
TARGET = (TABLE @ _draw.normal(size=(5, 1)) + 2).astype(np.float32)
TOKENS = _draw.integers(1, 9, (SAMPLES, 6)).astype(np.int32)
SERIES = _draw.normal(size=(SAMPLES, 6, 2)).astype(np.float32)
VOLUMES = _draw.random((SAMPLES, 4, 4, 4, 1), np.float32)
