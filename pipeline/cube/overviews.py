"""Overviews: each layer once more at a quarter, a sixteenth, ... of its resolution, as layers of their own.

A layer's overviews are made once, when the first version that has the layer is published; later versions link them.
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
        made = pool.map(lambda layer: _of_layer(store, layer[1], manifest, factors), layers)
        for (digest, _), levels in zip(layers, made, strict=True):
            for factor, record in levels.items():
                found[factor][digest] = record
    return tuple(Overview(factor=factor, records=records) for factor, records in found.items() if records)


def _of_layer(
    store: Store, record: LayerRecord, manifest: Manifest, factors: tuple[int, ...]
) -> dict[int, LayerRecord]:
    recipes = {factor: _recipe(record, manifest, factor) for factor in factors}
    held = {factor: read_record(store, recipe.digest) for factor, recipe in recipes.items()}
    found = {factor: one for factor, one in held.items() if one is not None}
    if len(found) == len(factors):
        return found
    try:
        data = _coarse(store, record, factors)
    except (SlidecubeError, OSError):
        raise
    except Exception as error:  # zarr and its codecs raise what they like for a damaged layer
        raise CubeError(
            f"Layer {record.digest} of {store.uri} cannot be decoded ({type(error).__name__}).",
            f"Delete {folder_of(record.digest)} of the cube and build again.",
        ) from error
    for factor, recipe in recipes.items():
        if factor not in found:
            made = LayerData(data[factor], attributes=dict(record.attributes))
            found[factor] = write_layer(store, recipe, made, manifest.grid.coarser(factor))
    return found


def _recipe(record: LayerRecord, manifest: Manifest, factor: int) -> Recipe:
    return Recipe(
        kind="overview",
        variables=record.recipe.variables,
        grid=manifest.grid.coarser(factor).digest,
        sources=(Source(id=record.recipe.kind, fingerprint=record.digest),),
        parameters={
            "factor": factor,
            "rules": {name: VARIABLES[name].coarsening for name in record.recipe.variables},
        },
        algorithm=ALGORITHM,
    )


def _coarse(
    store: Store, record: LayerRecord, factors: tuple[int, ...]
) -> dict[int, dict[str, NDArray[Any]]]:
    """Arrays by factor and variable; one shard of the layer is in memory at a time."""
    found: dict[int, dict[str, NDArray[Any]]] = {factor: {} for factor in factors}
    for name in record.recipe.variables:
        stored = arrays.open_fast(store.zarr(f"{folder_of(record.digest)}/{name}"))
        shape = (stored.shape[-2], stored.shape[-1])
        for factor in factors:
            size = tuple(-(-n // factor) for n in shape)
            found[factor][name] = np.empty(size, dtype=VARIABLES[name].dtype)
        for _, window in arrays.shard_keys(shape):
            values = np.asarray(stored[window if stored.ndim == 2 else (0, *window)])
            for factor, made in coarsened(values, VARIABLES[name], factors).items():
                rows, columns = (slice(one.start // factor, -(-one.stop // factor)) for one in window)
                found[factor][name][rows, columns] = made
    return found


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
