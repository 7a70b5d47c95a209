"""What `verify` finds in manifests that somebody changed: a list of problems or an error of ours, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli import verify
from pipeline.cube.local_store import LocalStore
from pipeline.cube.store import digest_of
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import POINTER, pointer_to, publish, recorded_manifests, version_key, withdraw
from pipeline.errors import CubeError, SlidecubeError
from tests.faults.mutations import places
from tests.unit.pipeline.cube.test_cube import layer, manifest
from tests.unit.pipeline.cube.test_cube_pairs import with_pairs

Forge = Callable[[dict[str, Any]], object]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two versions, the second with pairs."""
    made = LocalStore(tmp_path / "cube")
    publish(made, manifest([layer(made, 1)]))
    publish(made, with_pairs(made, (10, 20)))
    return made


def forge(store: LocalStore, number: int, change: Forge, *, pointer: bool = False) -> str:
    """Change a manifest, and with `pointer` the digest that is recorded of it; the address of the version."""
    path = store.path(f"{version_key(number)}/manifest.json")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    if pointer:
        recorded = recorded_manifests(store)
        store.write(POINTER, pointer_to(max(recorded), {**recorded, number: digest_of(path.read_bytes())}))
    return store.uri_of(version_key(number))


@pytest.mark.parametrize("number", [1, 2])
def test_a_forged_manifest_of_any_version_is_found(store: LocalStore, number: int) -> None:
    """It names the forged values as its own, so that everything else agrees with it."""
    assert verify_cube(store.uri_of(version_key(number))).sound
    verdict = verify_cube(forge(store, number, lambda m: m.update(title="forged")))
    assert any(problem.startswith("manifest.json") for problem in verdict.problems)
    result = CliRunner().invoke(verify, [store.uri_of(version_key(number))])
    assert result.exit_code == 5 and "manifest.json" in result.output


def first_record(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["records"][document["timesteps"][0]["layers"]["vv"]]
    return found


HOSTILE: dict[str, Forge] = {
    "unknown variable": lambda m: m["static"].update(forged=m["timesteps"][0]["layers"]["vv"]),
    "unknown on an axis": lambda m: [
        step["layers"].update(forged=step["layers"]["vv"]) for step in m["timesteps"]
    ],
    "path as a variable": lambda m: m["static"].update({"../../x": m["timesteps"][0]["layers"]["vv"]}),
    "variable of another axis": lambda m: m["static"].update(vv=m["timesteps"][0]["layers"]["vv"]),
    "missing record": lambda m: m["records"].pop(m["timesteps"][0]["layers"]["vv"]),
    "no records": lambda m: m["records"].clear(),
    "entries that differ": lambda m: m["timesteps"][0]["layers"].clear(),
    "record of another layer": lambda m: first_record(m)["recipe"].update(algorithm="forged"),
    "record without content": lambda m: first_record(m)["content"].clear(),
    "record without a shard": lambda m: first_record(m)["content"]["vv"].clear(),
    "shard outside": lambda m: first_record(m)["content"]["vv"].update({"../../../x": "0"}),
    "file outside": lambda m: m["files"].update({"../../../../etc/passwd": "0"}),
    "absolute file": lambda m: m["files"].update({"/etc/passwd": "0"}),
    "another grid": lambda m: m["grid"].update(left=m["grid"]["left"] + 10),
    "another size": lambda m: m["grid"].update(width=m["grid"]["width"] + 1),
    "digest of the layer": lambda m: m["timesteps"][0]["layers"].update(vv="0" * 32),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_manifest_gives_problems_even_where_the_pointer_agrees(
    store: LocalStore, change: Forge
) -> None:
    verdict = verify_cube(forge(store, 2, change, pointer=True))
    assert not verdict.sound


@pytest.mark.parametrize(("width", "height"), [(10**9, 1), (10**5, 10**5), (10**12, 10**12)])
def test_a_grid_larger_than_any_memory_is_refused_before_it_is_made(
    store: LocalStore, width: int, height: int
) -> None:
    address = forge(store, 2, lambda m: m["grid"].update(width=width, height=height), pointer=True)
    with pytest.raises(CubeError) as caught:
        verify_cube(address)
    assert f"{width * height:,}" in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, seed=st.integers(0, 2**31))
def test_any_value_anywhere_gives_problems_or_an_error_of_ours(
    store: LocalStore, value: Any, seed: int
) -> None:
    path = store.path(f"{version_key(2)}/manifest.json")
    original = path.read_text()
    document = json.loads(original)
    found = places(document)
    node, key = found[seed % len(found)]
    same = node[key] == value
    node[key] = value
    path.write_text(json.dumps(document))
    try:
        assert same or not verify_cube(store.uri_of(version_key(2))).sound
    except SlidecubeError:
        pass
    finally:
        path.write_text(original)


def test_the_pointer_records_every_version_and_a_withdrawn_one_no_more(store: LocalStore) -> None:
    before = recorded_manifests(store)
    assert set(before) == {1, 2}
    withdraw(store, 2)
    assert recorded_manifests(store) == {1: before[1]}
    assert verify_cube(store.uri).sound


def test_a_pointer_of_earlier_releases_is_read(store: LocalStore) -> None:
    pointer = json.loads(store.read(POINTER) or b"")
    del pointer["earlier"], pointer["checksum"]
    store.write(POINTER, json.dumps(pointer).encode())
    assert set(recorded_manifests(store)) == {2}
    assert verify_cube(store.uri).sound and verify_cube(store.uri_of(version_key(1))).sound
