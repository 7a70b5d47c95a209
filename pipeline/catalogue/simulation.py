"""How data say that they are simulated: a property of items, an attribute of granules, a header of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ITEM_PROPERTY = "slidecube:simulated"
"""in the properties of a STAC item, and in a STAC collection"""
GRANULE_ATTRIBUTE = "SIMULATED"
"""an additional attribute of an item of NASA's CMR (UMM-G)"""
FILE_HEADER = "Slidecube-Simulated"
"""in the answer to a request for a file"""

FILE_TAG = "SLIDECUBE_SIMULATED"
"""in the metadata of a raster (GDAL's tags)"""

_TRUE = ("true", "yes", "1")


def is_true(stated: Any) -> bool:
    """Whether a mark's value says yes: true, 1, or such a word."""
    return str(stated).strip().lower() in _TRUE


def says_simulated(item: Any) -> bool:
    """Whether an item of a STAC API or of CMR says of itself that it is simulated."""
    if not isinstance(item, Mapping):
        return False
    properties, umm = item.get("properties"), item.get("umm")
    if isinstance(properties, Mapping) and is_true(properties.get(ITEM_PROPERTY)):
        return True
    attributes = umm.get("AdditionalAttributes") if isinstance(umm, Mapping) else None
    return any(_marks(attribute) for attribute in (attributes if isinstance(attributes, list) else []))


def any_simulated(items: Iterable[Any]) -> bool:
    """Whether any of the items says that it is simulated."""
    return any(says_simulated(item) for item in items)


def _marks(attribute: Any) -> bool:
    if not isinstance(attribute, Mapping) or attribute.get("Name") != GRANULE_ATTRIBUTE:
        return False
    values = attribute.get("Values")
    return isinstance(values, list) and any(is_true(value) for value in values)
