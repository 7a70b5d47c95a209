"""Reads untrusted XML of limited size: annotations, and the headers of rasters."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.parsers import expat

from pipeline.errors import InterferometryError
from pipeline.files import read_regular

_LARGEST_BYTES = 128 * 2**20


def parse(data: bytes) -> ET.Element:
    """The root of a document.

    Raises ValueError for a document type, and so for entities, in whatever encoding; ElementTree.ParseError for what
    is no XML.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_document_type
    with suppress(expat.ExpatError):  # ElementTree reports it
        parser.Parse(data, True)
    return ET.fromstring(data)


def _refuse_document_type(*_: Any) -> None:
    raise ValueError("it contains a document type")


def read_annotation(path: Path) -> ET.Element:
    """The root of an annotation. A document type (and so entities) or a larger file is refused.

    Raises InterferometryError `annotation-unreadable`.
    """
    try:
        return parse(read_regular(path, _LARGEST_BYTES))
    except (OSError, ValueError, ET.ParseError) as error:
        raise InterferometryError(
            "annotation-unreadable", f"{path.name}: {error}.", "Fetch the acquisition again."
        ) from error
