"""The earthquake's figures, from the cube's record or the ledger; footprints of passes, from the cube's catalogue."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from shapely.geometry import box, mapping

from model.inputs.cubes import CubeFacts
from model.releases import pass_footprints as footprints
from model.releases.event_facts import EventFacts, awaited, event_facts, heading
from model.releases.pass_footprints import pass_footprints
from model.releases.vector_layers import layers_of
from pipeline.events import ledger
from pipeline.events.detected_event import DetectedEvent
from pipeline.settings import settings

NOON = datetime(2018, 9, 6, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def saved(name: str, *areas: str, **more) -> None:
    event = DetectedEvent(
        source="usgs", id=name, updated=NOON, kind="earthquake", start=NOON, end=NOON, longitude=142.0, latitude=42.7,
        magnitude=6.6, depth_km=35.0, place="27 km E of Tomakomai", **more,
    )  # fmt: skip
    with ledger.locked():
        ledger.save(ledger.Entry(revisions=(event,), areas=tuple(ledger.EventArea(name=a) for a in areas)))


def test_the_ledger_knows_what_the_cube_does_not(data):
    saved("us2000h8ty", "hokkaido")
    (data / "events/damaged.json").write_text("{")
    known = event_facts("hokkaido", "{}")
    assert (known.magnitude, known.depth_km, known.epicentre) == (6.6, 35.0, (142.0, 42.7))
    assert event_facts("elsewhere", '{"usgs_id": "us2000h8ty"}').magnitude == 6.6
    assert event_facts("elsewhere", "{}") == EventFacts()
    own = event_facts("hokkaido", json.dumps({"magnitude": 6.7, "epicentre": [141.9, 42.6]}))
    assert (own.magnitude, own.depth_km, own.epicentre) == (6.7, 35.0, (141.9, 42.6))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"magnitude": 6.6, "place": "27 km E of Tomakomai"},
            "Landslides after M 6.6, 27 km E of Tomakomai, ",
        ),
        ({"magnitude": 6.6}, "Landslides after M 6.6, hokkaido, "),
        ({"place": "Noto\u202e\npeninsula"}, "Landslides, Noto peninsula, "),
        ({}, "Landslides, hokkaido, "),
    ],
)
def test_a_release_is_called_by_event_place_and_day(facts, words):
    known = EventFacts.model_validate(facts)
    assert heading("hokkaido", (NOON, NOON), known) == f"{words}6 September 2018 UTC"
    assert heading("a", (NOON, NOON + timedelta(days=2)), known).endswith(
        "6 September 2018 to 8 September 2018 UTC"
    )
    assert len(heading("a", (NOON, NOON), EventFacts(place="x" * 400))) < 170


@pytest.mark.parametrize(
    "recorded", [None, "", "[]", '{"magnitude": "NaN"}', '{"epicentre": [1e9, 2]}', "[" * 9999]
)
def test_an_odd_record_says_nothing(data, recorded):
    assert event_facts("hokkaido", recorded) == EventFacts()


def test_nothing_is_waited_for_of_a_cube_from_elsewhere(data):
    facts = CubeFacts(uri="/elsewhere/cube.zarr", area="hokkaido", digest="0", shape=(2, 2), simulated=False)
    assert awaited(facts) is None and pass_footprints(facts) == {}


def test_the_footprints_are_those_of_the_catalogue_of_the_version(data, made, monkeypatch):
    from types import SimpleNamespace

    geometry = mapping(box(140, 42, 143, 44))
    overflight = SimpleNamespace(pass_id="s1a_1_A")
    read = SimpleNamespace(overflight=overflight, slice=SimpleNamespace(geometry=geometry))
    names = {
        "catalogue-20180901T000000Z-aaaaaaaa.json": b"old",
        "catalogue-20180902T000000Z-bbbbbbbb.json": b"new",
    }
    store = SimpleNamespace(
        names=lambda _: sorted(names), read=lambda key, most: names[key.rpartition("/")[2]]
    )
    monkeypatch.setattr(footprints, "address_of", lambda uri: SimpleNamespace(number=1, store=store))
    monkeypatch.setattr(
        footprints, "read_manifest", lambda store, number: SimpleNamespace(catalogue="b" * 32)
    )
    monkeypatch.setattr(footprints, "parse_catalogue", lambda raw, where: SimpleNamespace(rtc_items=[raw]))
    monkeypatch.setattr(
        footprints, "content_digest", lambda one: "b" * 32 if one.rtc_items == [b"new"] else "a"
    )
    monkeypatch.setattr(footprints, "read_item", lambda item: read)
    finished, _ = made
    found = pass_footprints(finished.facts)
    assert set(found) == {"s1a_1_A"}
    from dataclasses import replace

    first = finished.selection.every_view[0].before[0].id
    layer = layers_of(replace(finished, footprints={first: found["s1a_1_A"]}))[3]
    frame = layer.frame.set_index("pass_id").to_crs(4326)
    assert frame.loc[first].geometry.area == pytest.approx(6.0, rel=0.02)
    others = frame.drop(index=first)
    assert all(one.area < 1 for one in others.geometry)
    odd = layers_of(replace(finished, footprints={first: {"type": "Polygon", "coordinates": "x"}}))[3]
    assert len(odd.frame) == len(frame)
