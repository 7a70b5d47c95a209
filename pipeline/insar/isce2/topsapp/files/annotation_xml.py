"""Reads untrusted annotation XML of limited size."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from pipeline.errors import InterferometryError

_LARGEST_BYTES = 128 * 2**20


def read_annotation(path: Path) -> ET.Element:
    """The root of an annotation. A document type (and so entities) or a larger file is refused.

    Raises InterferometryError `annotation-unreadable`.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("the file is too large")
        data = path.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise ValueError("it contains a document type")
        return ET.fromstring(data)
    except (OSError, ValueError, ET.ParseError) as error:
        raise InterferometryError(
            "annotation-unreadable", f"{path.name}: {error}.", "Fetch the acquisition again."
        ) from error
