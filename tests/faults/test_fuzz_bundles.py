"""Bundles, cards, records and manifests that were changed at random: an error of the project, or harmless.

`SLIDECUBE_TESTS_FUZZ` is the number of examples of each test. The changes are made to files that are whole: a value of
a random kind anywhere in the JSON, a key more or less, bytes cut off, turned or put in.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.bundle.bundle import load, read_document
from model.bundle.card import model_card
from model.bundle.document import DOCUMENT, WEIGHTS, BundleDocument
from model.bundle.mlm import item_of
from model.network import pretraining
from model.origin import ORIGIN, REPORT, Made, Origin, changes, existing, read_made
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import parse_manifest, timepair_labels
from pipeline.errors import ReplaceError, SlidecubeError
from tests.faults.budget import budget
from tests.faults.made_bundle import INPUTS, SPEC, as_json, made_weights, with_identity, write_bundle
from tests.faults.writer import manifest_of

EXAMPLES = budget("FUZZ", 25)
LONGEST_S = 20.0
"""no input may take longer; on a loaded machine an unchanged bundle takes about a second"""
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["../../etc/passwd", "/etc/passwd", "..", "", "\x00", "$\\frac{", "<script>", "|", "NaN", "\u202e"]
    ),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**18, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=6,
)


def paths_of(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    found = [so_far] if so_far else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths_of(inner, (*so_far, key))
    return found


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A document with one to three changes."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = paths_of(document)
        if not places:
            return draw(values)
        *path, last = draw(st.sampled_from(places))
        at = document
        for key in path:
            at = at[key]
        kind = draw(st.sampled_from(("replace", "replace", "remove", "add", "repeat")))
        if kind == "replace":
            at[last] = draw(values)
        elif kind == "remove":
            del at[last]
        elif kind == "add" and isinstance(at, dict):
            at[draw(texts)] = draw(values)
        elif isinstance(at, list):
            at += [at[last]] * draw(st.integers(1, 300))
    return document


@st.composite
def spoilt(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes that were cut, turned or put in, most often at the beginning, where headers are."""
    kind = draw(st.sampled_from(("cut", "turn", "put", "replace")))
    at = draw(st.one_of(st.integers(0, min(400, len(raw))), st.integers(0, len(raw))))
    some = draw(st.binary(min_size=1, max_size=16))
    if kind == "cut":
        return raw[:at]
    if kind == "turn" and at < len(raw):
        return raw[:at] + bytes([raw[at] ^ draw(st.integers(1, 255))]) + raw[at + 1 :]
    return raw[:at] + some + raw[at + (len(some) if kind == "replace" else 0) :]


def harmless(work: Callable[[], Any]) -> Any:
    """What `work` returns, or None where it raises an error of the project; nothing else, and in bounded time."""
    started = time.monotonic()
    try:
        return work()
    except SlidecubeError as error:
        assert str(error) and len(str(error)) < 5000
        return None
    finally:
        assert time.monotonic() - started < LONGEST_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@fuzzed
@given(data=st.data())
def test_a_document(folder: Path, data: st.DataObject) -> None:
    values = data.draw(changed(as_json()))
    if data.draw(st.booleans()):
        values = with_identity(values)
    (folder / DOCUMENT).write_text(json.dumps(values), encoding="utf-8", errors="surrogatepass")
    harmless(lambda: load(folder))
    harmless(lambda: read_made(folder))


@fuzzed
@given(data=st.data())
def test_bytes_of_a_document(folder: Path, data: st.DataObject) -> None:
    (folder / DOCUMENT).write_bytes(data.draw(spoilt(json.dumps(as_json()).encode())))
    harmless(lambda: read_document(folder))
    harmless(lambda: read_made(folder))


@fuzzed
@given(data=st.data())
def test_a_card_of_whatever_document_is_accepted(data: st.DataObject) -> None:
    try:
        document = BundleDocument.model_validate(data.draw(changed(as_json())))
    except ValueError:
        return
    card = model_card(document)
    item = json.dumps(item_of(document, WEIGHTS, "MODEL_CARD.md"))
    assert card.startswith("# Landslide model") and "\x00" not in card and document.digest in item


@fuzzed
@given(data=st.data())
def test_weights(folder: Path, data: st.DataObject) -> None:
    raw = made_weights()
    length = int.from_bytes(raw[:8], "little")
    if data.draw(st.booleans()):
        header = json.dumps(data.draw(changed(json.loads(raw[8 : 8 + length])))).encode()
        weights = len(header).to_bytes(8, "little") + header + raw[8 + length :]
    else:
        weights = data.draw(spoilt(raw))
    write_bundle(folder, as_json(), weights)
    harmless(lambda: load(folder))


MADE = Made(
    origin=Origin(kind="map", cube="a" * 64, model="b" * 64, options={"smallest_m2": 400.0, "event": None}),
    record={"path": ".", "picture": "quicklook.png", "report": "report.json"},
    files=(ORIGIN, "landslides.gpkg"),
    digests={"landslides.gpkg": "0" * 64},
)


@fuzzed
@given(data=st.data())
def test_an_origin_record(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / ORIGIN).write_text(json.dumps(data.draw(changed(MADE.model_dump(mode="json")))))
    (tmp_path / "landslides.gpkg").write_text("polygons")
    made = harmless(lambda: read_made(tmp_path))
    if made is not None:
        harmless(lambda: changes(tmp_path, made))
    try:
        existing(tmp_path, MADE.origin, replace=False)
    except ReplaceError as error:
        assert len(str(error)) < 5000
    assert (tmp_path / "landslides.gpkg").read_text() == "polygons"


EARLIER_MAP = {
    "format": "slidecube-map-1",
    "map": {"kind": "model", "model": "b" * 64, "smallest_m2": 400.0, "area": "somewhere"},
    "cube": {"digest": "a" * 64},
}


@fuzzed
@given(data=st.data())
def test_a_report_of_an_earlier_release(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / REPORT).write_text(json.dumps(data.draw(changed(EARLIER_MAP))))
    made = harmless(lambda: read_made(tmp_path))
    assert made is None or made.origin.kind == "map"


@fuzzed
@given(data=st.data())
def test_pretrained_weights(tmp_path: Path, data: st.DataObject) -> None:
    target = tmp_path / "pretrained"
    origin = pretraining.PretrainingOrigin(
        network=SPEC, channels=INPUTS.channels, plan=pretraining.PretrainingPlan(), seed=0
    )
    if not target.exists():
        from safetensors.torch import load as load_tensors

        tensors = load_tensors(made_weights())
        kept = {name: value for name, value in tensors.items() if not name.startswith("segmentation_head.")}
        pretraining.save(pretraining.Pretrained(weights=kept, loss=0.5), origin, target)
        assert harmless(lambda: pretraining.load(target, SPEC, INPUTS.channels)) is not None
    file = target / pretraining.DOCUMENT
    whole = file.read_bytes()
    try:
        file.write_text(json.dumps(data.draw(changed(json.loads(whole)))))
        harmless(lambda: pretraining.load(target, SPEC, INPUTS.channels))
    finally:
        file.write_bytes(whole)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The manifest of a small cube, as plain values."""
    store = LocalStore(tmp_path_factory.mktemp("cube"))
    return json.loads(manifest_of(store, [0, 12, 24]).to_bytes())


@fuzzed
@given(data=st.data())
def test_a_manifest(manifest: Any, data: st.DataObject) -> None:
    raw = json.dumps(data.draw(changed(manifest))).encode(errors="surrogatepass")
    parsed = harmless(lambda: parse_manifest(raw, "version 1"))
    if parsed is not None:
        harmless(lambda: (parsed.stacks, parsed.substance, timepair_labels(parsed.timepairs)))
    harmless(lambda: parse_manifest(data.draw(spoilt(raw)), "version 1"))
