"""Overviews: each layer once more at a quarter, a sixteenth, ... of its resolution, as layers of their own.

A layer's overviews are made once, of its shards while they are written; every version that has the layer links them.
Where a layer has none (a build was killed between the two, or an earlier release wrote it), they are made of the stored
layer when a version is published.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.cube.coordinates import write_overview_coordinates
from pipeline.cube.encoding import arrays
from pipeline.cube.encoding.coarsening import coarsened
from pipeline.cube.encoding.geozarr import placed
from pipeline.cube.encoding.portable import portable_attributes
from pipeline.cube.layers import (
    LayerData,
    LayerRecord,
    LayerValues,
    Recipe,
    Source,
    folder_of,
    read_record,
    write_layer,
)
from pipeline.cube.manifest import Manifest, Overview
from pipeline.cube.schema import VARIABLES
from pipeline.cube.store import Store
from pipeline.errors import CubeError, SlidecubeError
from pipeline.grid import Grid

ALGORITHM = "overview-1"
STEP = 4
"""between two levels: all levels together add at most 1/15 of the pixels; steps of 2 would add a third"""
LARGEST_PX = 512
"""the coarsest level is no longer than this, as the smallest overview of a COG"""
LAYERS_AT_ONCE = 3
"""each thread holds a shard of one layer; decoding, the means and encoding run outside Python's lock"""
MOST_FACTOR = 256
"""shards of 2048 pixels hold whole blocks of it"""


def factors_of(shape: tuple[int, int]) -> tuple[int, ...]:
    """Pixels of a (y, x) grid along one side of a block, by level: 4, 16, ...; at least one level."""
    found = [STEP]
    while max(shape) > found[-1] * LARGEST_PX and found[-1] < MOST_FACTOR:
        found.append(found[-1] * STEP)
    return tuple(found)


def make_overviews(store: Store, manifest: Manifest) -> tuple[Overview, ...]:
    """The overviews of every layer of a version; those that do not exist are made.

    Raises:
        CubeError: a layer cannot be decoded.
        DiskError: the store cannot be written.
    """
    factors = factors_of(manifest.grid.shape)
    found: dict[int, dict[str, LayerRecord]] = {factor: {} for factor in factors}
    layers = sorted(manifest.records.items())
    with ThreadPoolExecutor(LAYERS_AT_ONCE) as pool:
        made = pool.map(lambda layer: _of_layer(store, layer[1], manifest.grid), layers)
        for (digest, _), levels in zip(layers, made, strict=True):
            for factor, record in levels.items():
                found[factor][digest] = record
    return tuple(Overview(factor=factor, records=records) for factor, records in found.items() if records)


def write_with_overviews(store: Store, recipe: Recipe, data: LayerValues, grid: Grid) -> LayerRecord:
    """Write a layer as `write_layer` does, then its overviews; the layer is not read for them."""
    levels = _Levels(grid.shape)
    record = write_layer(store, recipe, data, grid, levels.add)
    if levels.arrays:  # else another writer had committed it
        for factor in levels.factors:
            _write(store, record, grid, levels, factor)
    return record


class _Levels:
    """Overviews of a layer in memory, made shard by shard."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self.factors = factors_of(shape)
        self.arrays: dict[int, dict[str, NDArray[Any]]] = {}
        """by factor and variable; nothing before the first shard"""

    def add(self, name: str, window: tuple[slice, slice], values: NDArray[Any]) -> None:
        """Take the values of a shard, instead of those that it had before."""
        for factor, made in coarsened(values, VARIABLES[name], self.factors).items():
            of_level = self.arrays.setdefault(factor, {})
            if name not in of_level:
                height, width = (-(-n // factor) for n in self._shape)
                of_level[name] = np.empty((height, width), dtype=VARIABLES[name].dtype)
            rows, columns = (slice(one.start // factor, -(-one.stop // factor)) for one in window)
            of_level[name][rows, columns] = made


def _write(store: Store, record: LayerRecord, grid: Grid, levels: _Levels, factor: int) -> LayerRecord:
    made = LayerData(levels.arrays[factor], attributes=dict(record.attributes))
    return write_layer(store, _recipe(record, grid, factor), made, grid.coarser(factor))


def _of_layer(store: Store, record: LayerRecord, grid: Grid) -> dict[int, LayerRecord]:
    factors = factors_of(grid.shape)
    held = {factor: read_record(store, _recipe(record, grid, factor).digest) for factor in factors}
    found = {factor: one for factor, one in held.items() if one is not None}
    if len(found) == len(factors):
        return found
    try:
        levels = _read(store, record, grid)
    except (SlidecubeError, OSError):
        raise
    except Exception as error:  # zarr and its codecs raise what they like for a damaged layer
        raise CubeError(
            f"Layer {record.digest} of {store.uri} cannot be decoded ({type(error).__name__}).",
            f"Delete {folder_of(record.digest)} of the cube and build again.",
        ) from error
    return {factor: found.get(factor) or _write(store, record, grid, levels, factor) for factor in factors}


def _recipe(record: LayerRecord, grid: Grid, factor: int) -> Recipe:
    return Recipe(
        kind="overview",
        variables=record.recipe.variables,
        grid=grid.coarser(factor).digest,
        sources=(Source(id=record.recipe.kind, fingerprint=record.digest),),
        parameters={
            "factor": factor,
            "rules": {name: VARIABLES[name].coarsening for name in record.recipe.variables},
        },
        algorithm=ALGORITHM,
    )


def _read(store: Store, record: LayerRecord, grid: Grid) -> _Levels:
    """The overviews of a stored layer; one shard of it is in memory at a time."""
    levels = _Levels(grid.shape)
    for name in record.recipe.variables:
        stored = arrays.open_fast(store.zarr(f"{folder_of(record.digest)}/{name}"))
        for _, window in arrays.shard_keys(grid.shape):
            levels.add(name, window, np.asarray(stored[window if stored.ndim == 2 else (0, *window)]))
    return levels


def write_groups(store: Store, staging: str, manifest: Manifest) -> None:
    """Write the groups of a staged version's overviews, with their coordinates and empty arrays."""
    if manifest.overviews:
        zarr.create_group(store=store.zarr(f"{staging}/overviews"), zarr_format=3)
    for level in manifest.levels[1:]:
        group = f"{staging}/{level.prefix.rstrip('/')}"
        attributes = {
            "Conventions": "CF-1.11",
            "title": f"{manifest.title or manifest.area}, overview of {level.grid.resolution_m:g} m",
            "coordinates": "spatial_ref",
            **placed(level.grid),
        }
        zarr.create_group(store=store.zarr(group), zarr_format=3, attributes=portable_attributes(attributes))
        write_overview_coordinates(store, group, manifest, level.grid)
