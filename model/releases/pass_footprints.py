"""How far each pass reaches: from the catalogue that the cube's version was built from, where the cube still has it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from shapely import unary_union
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape

from model.inputs.cubes import CubeFacts
from pipeline.catalogue.catalogue import content_digest
from pipeline.catalogue.items import read_item
from pipeline.catalogue.snapshots import FOLDER, MOST_SNAPSHOT_BYTES, parse_catalogue
from pipeline.cube.addresses import address_of
from pipeline.cube.versions import read_manifest
from pipeline.errors import SlidecubeError

log = logging.getLogger(__name__)


def pass_footprints(facts: CubeFacts) -> dict[str, dict[str, Any]]:
    """GeoJSON geometries in degrees of WGS 84 by the name of the pass; empty where the cube has no such record."""
    try:
        address = address_of(facts.uri)
        if address.number is None:
            return {}
        wanted = read_manifest(address.store, address.number).catalogue
        names = [name for name in address.store.names(FOLDER) if name.startswith("catalogue-")]
        for name in sorted(names, reverse=True):
            if not name.endswith(f"-{wanted[:8]}.json"):
                continue
            raw = address.store.read(f"{FOLDER}/{name}", MOST_SNAPSHOT_BYTES)
            catalogue = parse_catalogue(raw or b"", name)
            if content_digest(catalogue) == wanted:
                return _by_pass(catalogue.rtc_items)
    except (SlidecubeError, ValueError, ShapelyError) as error:
        log.info("the footprints of the passes are not known: %s", error)
    return {}


def _by_pass(items: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        try:
            read = read_item(item)
        except SlidecubeError:
            continue
        found.setdefault(read.overflight.pass_id, []).append(shape(read.slice.geometry))
    return {name: mapping(unary_union(parts)) for name, parts in found.items()}
