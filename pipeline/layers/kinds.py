"""The kinds of layer that a cube is made of."""

from __future__ import annotations

from typing import Any

from pipeline.layers.backscatter import Backscatter
from pipeline.layers.interferometry import Interferometry
from pipeline.layers.kind import LayerKind
from pipeline.layers.labels import Labels
from pipeline.layers.look_geometry import LookGeometry
from pipeline.layers.terrain import Terrain

Kinds = tuple[LayerKind[Any], ...]

KINDS: Kinds = (Backscatter(), Terrain(), Labels(), Interferometry(), LookGeometry())
"""A kind of layer is added here, and its variables in `pipeline.cube.schema`."""
