"""Layers: what one recipe makes, written once to `layers/<recipe>/`, verified, and never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerData:
    """A layer in memory, on its way to the store."""

    arrays: dict[str, NDArray[Any]]
    """by variable name, each (y, x) on the cube's grid; float32 with NaN, or int32"""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """by variable name: JSON-able attributes added to the schema's"""
    report: dict[str, Any] = field(default_factory=dict)
    """JSON-able counts and remarks that go to the manifest"""
    files: dict[str, bytes] = field(default_factory=dict)
    """small files kept with the cube, by name, such as landslides.parquet"""
