"""XML documents from outside: bounded, and without what a parser would fetch or expand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import etree

from pipeline.errors import SourceDataError
from pipeline.files import TooLargeError, read_regular


def read_document(path: Path, most_bytes: int, called: str, remedy: str) -> Any:
    """Root of the document: no entity, no document type, nothing from the network, the parser's own limits kept.

    `called` names the file in an error, and `remedy` is what the user can do.

    Raises:
        SourceDataError: unreadable, too large, not XML, or with a document type.
    """
    try:
        raw = read_regular(path, most_bytes)
    except TooLargeError:
        raise SourceDataError(f"{called} is larger than {most_bytes // 2**20} MiB.", remedy) from None
    except OSError as error:
        raise SourceDataError(f"{called} cannot be read ({error.strerror or 'no file'}).", remedy) from None
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SourceDataError(f"{called} is no valid XML ({reason}); it may be cut short.", remedy) from None
    if root.getroottree().docinfo.doctype:
        raise SourceDataError(f"{called} declares a document type, which no such file does.", remedy)
    return root
