"""Marks the answers about a simulated world as simulated; those about real files stay as they are."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.catalogue.simulation import FILE_HEADER, GRANULE_ATTRIBUTE, ITEM_PROPERTY


@lru_cache(maxsize=64)
def is_simulated(root: Path) -> bool:
    """Whether the world in that folder is simulated; one that does not say so is."""
    try:
        document = json.loads((root / "world.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return bool(document.get("simulated", True))


def marked_item(item: dict[str, Any]) -> dict[str, Any]:
    """The STAC item with the mark among its properties."""
    return {**item, "properties": {**item["properties"], ITEM_PROPERTY: True}}


def marked_granule(item: dict[str, Any]) -> dict[str, Any]:
    """The item of a granule or burst with the mark among its additional attributes."""
    attributes = [*item["umm"]["AdditionalAttributes"], {"Name": GRANULE_ATTRIBUTE, "Values": ["true"]}]
    return {**item, "umm": {**item["umm"], "AdditionalAttributes": attributes}}


def file_headers(path: Path) -> dict[str, str]:
    """The headers of a file of a world: the mark, if the world is simulated."""
    root = next((folder for folder in path.parents if folder.name == "blobs"), path).parent
    return {FILE_HEADER.lower(): "true"} if is_simulated(root) else {}
