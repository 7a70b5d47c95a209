"""Documents with random faults, for tests of what reads them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ODD_TEXT = (
    "", " ", "\0", "../..", "/etc/passwd", "file:///etc/passwd", "/vsicurl/http://127.0.0.1/", "http://127.0.0.1:9/",
    "https://user:word@host/?sig=1", "nan", "1e999", "9" * 5000, "2018-13-45T99:99:99Z", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z", "[red]", "{{ 7 * 7 }}", "%s%n", "é\u202e\U0001f30b", "\ud800", "-", "true",
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.sampled_from(ODD_TEXT),
    st.text(max_size=20),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def containers(document: Any) -> list[Any]:
    """Every mapping and list of a document that is not empty."""
    found, waiting = [], [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (dict, list)) and one:
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every (mapping or list, key or index) of a document."""
    return [
        (one, key)
        for one in containers(document)
        for key in (one if isinstance(one, dict) else range(len(one)))
    ]


@st.composite
def mutated(draw: st.DrawFn, documents: list[Any]) -> Any:
    """One of the documents with up to four values replaced, removed, doubled or exchanged."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 4))):
        homes = containers(document)
        if not homes:
            break
        home = homes[draw(st.integers(0, len(homes) - 1))]
        keys = list(home) if isinstance(home, dict) else list(range(len(home)))
        key = draw(st.sampled_from(keys))
        match draw(st.sampled_from(("replace", "remove", "double", "exchange", "add"))):
            case "replace":
                home[key] = draw(JUNK)
            case "remove":
                del home[key]
            case "double":
                home[key] = [home[key], copy.deepcopy(home[key])]
            case "exchange":
                other = draw(st.sampled_from(keys))
                home[key], home[other] = home[other], home[key]
            case _ if isinstance(home, dict):
                home[draw(st.text(max_size=8))] = draw(JUNK)
            case _:
                home.append(draw(JUNK))
    return document


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with some changed, cut off or repeated."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("change", "change", "cut", "repeat", "insert"))):
            case "change":
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[place : place + draw(st.integers(1, 4096))]
            case "repeat":
                data[place:place] = data[place : place + draw(st.integers(1, 64))]
            case _:
                data[place:place] = draw(st.binary(max_size=16))
    return bytes(data)
