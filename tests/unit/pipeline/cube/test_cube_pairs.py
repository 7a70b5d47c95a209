"""The axes of pairs and of tracks: labels, coordinates, shared bytes, insertion, what verifying finds."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from model.inputs.cubes import coherence
from pipeline.catalogue.slc import pair_id
from pipeline.cube.cube_quicklook import draw
from pipeline.cube.layers import LayerData, LayerRecord, Recipe, Source, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import Look, Manifest, Timepair, parse_manifest, timepair_labels
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import publish, version_key
from pipeline.errors import ModelError
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest, tree

FIRST = datetime(2018, 8, 24, 20, 41, 3, 250_000, tzinfo=UTC)


def pair_layer(store: LocalStore, number: int) -> LayerRecord:
    """Coherence is `number` hundredths; the phase is not a number in the first rows."""
    recipe = Recipe(
        kind="interferometry",
        variables=("interferogram", "coherence"),
        grid=GRID.digest,
        sources=(Source(id=f"burst-{number}", fingerprint="1"),),
        parameters={"backend": "pygmtsar"},
        algorithm="test-1",
    )
    coherence = np.full(GRID.shape, number / 100, dtype="float32")
    phase = np.random.default_rng(number).uniform(-np.pi, np.pi, GRID.shape).astype("float32")
    phase[:5] = np.nan
    data = LayerData(
        {"interferogram": phase, "coherence": coherence},
        attributes={"coherence": {"estimator": "boxcar", "window": f"{number}"}},
        report={"coverage": 0.75},
    )
    return write_layer(store, recipe, data, GRID)


def timepair(record: LayerRecord, number: int, track: int = 46, baseline: float | None = 12.5) -> Timepair:
    start = FIRST + timedelta(days=number)
    end = start + timedelta(days=12)
    return Timepair(
        pair_id=pair_id(track, start, end),
        start=start,
        end=end,
        relative_orbit=track,
        perpendicular_baseline_m=baseline,
        backend="pygmtsar",
        layers={"interferogram": record.digest, "coherence": record.digest},
    )


def look(store: LocalStore, track: int) -> tuple[Look, LayerRecord]:
    recipe = Recipe(
        kind="look",
        variables=("local_incidence_deg", "layover_shadow"),
        grid=GRID.digest,
        sources=(Source(id=f"track-{track}", fingerprint="1"),),
        algorithm="test-1",
    )
    arrays: dict[str, Any] = {
        "local_incidence_deg": np.full(GRID.shape, float(track), dtype="float32"),
        "layover_shadow": np.zeros(GRID.shape, dtype="float32"),
    }
    record = write_layer(store, recipe, LayerData(arrays, report={"coverage": 1.0}), GRID)
    return Look(relative_orbit=track, layers=dict.fromkeys(arrays, record.digest)), record


def with_pairs(store: LocalStore, numbers: tuple[int, ...], **other: Any) -> Manifest:
    base = manifest([layer(store, 1), layer(store, 2)])
    made = {number: pair_layer(store, number) for number in numbers}
    records = {**base.records, **{record.digest: record for record in made.values()}}
    pairs = tuple(timepair(record, number) for number, record in made.items())
    return base.model_copy(update={"timepairs": pairs, "records": records, **other})


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cube")


def test_pairs_and_tracks_have_axes_of_their_own_and_the_passes_keep_theirs(store: LocalStore) -> None:
    made = with_pairs(store, (10, 22))
    looks, records = zip(*(look(store, track) for track in (46, 68)), strict=True)
    unknown = made.timepairs[1].model_copy(update={"perpendicular_baseline_m": None})
    made = made.model_copy(
        update={
            "timepairs": (made.timepairs[0], unknown),
            "looks": looks,
            "records": {**made.records, **{record.digest: record for record in records}},
        }
    )
    publish(store, made)
    cube = open_cube(store.root)
    assert cube["coherence"].dims == cube["interferogram"].dims == ("timepair", "y", "x")
    assert cube["local_incidence_deg"].dims == ("track", "y", "x")
    assert cube["timepair"].values.tolist() == ["20180903_20180915", "20180915_20180927"]
    np.testing.assert_array_equal(
        cube["timepair_start"].values,
        np.array(["2018-09-03T20:41:03.25", "2018-09-15T20:41:03.25"], dtype="M8[us]"),
    )
    assert cube["timepair_end"].dtype.kind == "M"
    np.testing.assert_array_equal(cube["perpendicular_baseline_m"].values, [12.5, np.nan])
    assert cube["timepair_relative_orbit"].values.tolist() == [46, 46]
    assert cube["timepair_backend"].values.tolist() == ["pygmtsar"] * 2
    assert cube["coherence_coverage"].values.tolist() == [0.75, 0.75]
    # the coordinate that every cube so far has is the one of the passes
    assert cube["relative_orbit"].dims == ("timestep",)
    assert float(cube["local_incidence_deg"].sel(track=68).mean()) == 68
    assert float(cube["coherence"].sel(timepair="20180915_20180927").mean()) == pytest.approx(0.22)
    assert set(cube.data_vars) == {
        "vv", "interferogram", "coherence", "local_incidence_deg", "layover_shadow",
    }  # fmt: skip
    # the attributes that all layers of a variable agree on, and no others
    assert cube["coherence"].attrs["estimator"] == "boxcar"
    assert "window" not in cube["coherence"].attrs
    verdict = verify_cube(store.root)
    assert verdict.sound, verdict.problems
    assert verdict.shards == 2 * (2 + 2 * 2 + 2 * 2), "each with an overview"


def test_the_same_dates_on_two_tracks_have_distinct_labels(store: LocalStore) -> None:
    record = pair_layer(store, 1)
    pairs = (timepair(record, 1, 46), timepair(record, 1, 68), timepair(record, 5, 46))
    assert timepair_labels(pairs) == (
        "20180825_20180906_T046",
        "20180825_20180906_T068",
        "20180829_20180910",
    )


def test_a_pair_in_the_middle_gives_the_bytes_of_a_fresh_cube(store: LocalStore, tmp_path: Path) -> None:
    publish(store, with_pairs(store, (10, 30)))
    number, new = publish(store, with_pairs(store, (10, 20, 30)))
    assert (number, new) == (2, True)
    fresh = LocalStore(tmp_path / "fresh")
    publish(fresh, with_pairs(fresh, (10, 20, 30)))
    assert tree(store.path(version_key(2))) == tree(fresh.path(version_key(1)))
    assert publish(store, with_pairs(store, (10, 20, 30))) == (2, False)
    np.testing.assert_allclose(open_cube(store.root)["coherence"][:, 9, 9].values, [0.1, 0.2, 0.3])


def test_pairs_share_bytes_with_their_layers(store: LocalStore) -> None:
    publish(store, with_pairs(store, (10, 20)))
    for variable in ("interferogram", "coherence"):
        assert store.path(f"{version_key(1)}/{variable}/c/1/0/0").stat().st_nlink == 2


@pytest.mark.parametrize("variable", ["coherence", "interferogram"])
def test_a_flipped_byte_and_a_deleted_shard_of_a_pair_are_found(store: LocalStore, variable: str) -> None:
    publish(store, with_pairs(store, (10, 20)))
    folder = store.path(version_key(1))
    flipped = folder / variable / "c/0/0/0"
    raw = bytearray(flipped.read_bytes())
    raw[len(raw) // 3] ^= 1
    flipped.write_bytes(bytes(raw))
    (folder / variable / "c/1/0/0").unlink()
    problems = verify_cube(store.root).problems
    assert any(p.startswith(f"{variable}/c/0/0/0") for p in problems), problems
    assert any(p.startswith(f"{variable}/c/1/0/0:") for p in problems), problems


def test_changed_coordinates_of_pairs_are_found(store: LocalStore) -> None:
    publish(store, with_pairs(store, (10,)))
    chunk = next(p for p in (store.path(version_key(1)) / "timepair_start").rglob("*") if p.name != "zarr.json"
                 and p.is_file())  # fmt: skip
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert any("timepair_start" in problem for problem in verify_cube(store.root).problems)


def test_a_manifest_from_before_there_were_pairs_is_the_same_manifest(store: LocalStore) -> None:
    plain = manifest([layer(store, 1)])
    raw = plain.to_bytes()
    assert b"timepairs" not in raw
    assert b"looks" not in raw
    again = parse_manifest(raw, "test")
    assert (again.timepairs, again.looks) == ((), ())
    assert again.substance == plain.substance
    assert with_pairs(store, (10,)).substance != with_pairs(store, ()).substance


def test_the_coherence_of_a_published_cube_has_our_name(tmp_path: Path) -> None:
    pairs = np.random.default_rng(0).random((2, 6, 5)).astype("float32")
    published = xr.Dataset(
        {"topophase.cor_1": (("timepair", "y", "x"), pairs), "dem": (("y", "x"), pairs[0])},
        coords={
            "timepair": np.array(["20180824_20180905", "20180905_20180917"]),
            "y": -np.arange(6) * 10.0,
            "x": np.arange(5) * 10.0,
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        published.to_zarr(tmp_path / "hokkaido_japan.zarr", zarr_format=2)
    np.testing.assert_array_equal(open_cube(tmp_path / "hokkaido_japan.zarr")["coherence"].values, pairs)


def test_a_model_takes_the_coherence_of_one_backend_and_refuses_a_mix(store: LocalStore) -> None:
    made = with_pairs(store, (10, 20, 30))
    other = made.timepairs[1].model_copy(update={"backend": "isce2"})
    publish(store, made.model_copy(update={"timepairs": (made.timepairs[0], other, made.timepairs[2])}))
    cube = open_cube(store.root)
    with pytest.raises(ModelError, match="isce2, pygmtsar"):
        coherence(cube)
    chosen = coherence(cube.sel(timepair=cube.timepair_backend == "pygmtsar"))
    np.testing.assert_allclose(chosen[:, 7, 7].values, [0.1, 0.3])
    with pytest.raises(ModelError, match="no coherence"):
        coherence(cube.drop_vars("coherence"))


def test_the_picture_shows_the_pairs_and_the_phase_of_the_one_across_the_event(store: LocalStore) -> None:
    publish(store, with_pairs(store, (10, 20)))
    with open_cube(store.root) as cube:
        titles = [axis.get_title() for axis in draw(cube).axes if axis.get_title()]
        labels = [str(label) for label in cube["timepair"].values]
        event = np.datetime64(json.loads(cube.attrs["event"])["start"].removesuffix("Z"))
        across = [
            label
            for label, start, end in zip(
                labels, cube["timepair_start"].values, cube["timepair_end"].values, strict=True
            )
            if start < event < end
        ]
    assert [title for title in titles if "coherence" in title] == [
        f"coherence, 0 to 1\n{label}" for label in labels
    ]
    assert len(across) == 1
    assert titles[-1] == f"phase, -π to π\n{across[0]}"
