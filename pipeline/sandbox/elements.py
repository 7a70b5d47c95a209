"""XML from nested tuples: (tag, content) or (tag, attributes, content)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lxml import etree

Node = tuple[Any, ...]


def build(node: Node) -> Any:
    """The element of a node. Its content is text, a number, an instant, or an iterable of nodes and elements."""
    tag, content = node[0], node[-1]
    element = etree.Element(tag, {k: str(v) for k, v in node[1].items()} if len(node) == 3 else {})
    if isinstance(content, str | int | float | datetime):
        element.text = text(content)
    elif content is not None:
        for child in content:
            element.append(build(child) if isinstance(child, tuple) else child)
    return element


def listed(tag: str, nodes: Iterable[Node]) -> Node:
    """A list in the products' form, with its count."""
    nodes = list(nodes)
    return tag, {"count": len(nodes)}, nodes


def text(value: Any) -> str:
    """A value in the products' form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15e}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}"
    return str(value)


def numbers(tag: str, values: Iterable[float | int], form: str = ".6e") -> Node:
    """A vector of numbers with its count."""
    found = [str(v) if isinstance(v, int) else format(v, form) for v in values]
    return tag, {"count": len(found)}, " ".join(found)


def serialised(element: Any) -> bytes:
    """The document of an element."""
    etree.indent(element, space="  ")
    return bytes(etree.tostring(element, xml_declaration=True, encoding="UTF-8"))
