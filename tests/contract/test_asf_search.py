"""Recorded answers of ASF's search through the code that searches, reads, groups and pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asf_search.baseline.calc as theirs
import numpy as np
import pytest
import yaml
from scipy.interpolate import CubicHermiteSpline

from pipeline.archives.archive import SLC_BURSTS, SLC_GRANULES, Query
from pipeline.archives.asf import Asf
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.granules import kept, read_burst, read_granule
from pipeline.catalogue.pairs import choose_pairs, perpendicular_baseline_m
from pipeline.catalogue.slc import SlcHoldings, StateVector
from pipeline.catalogue.slc_passes import group_granules
from pipeline.errors import ArchiveError
from tests.unit.loopback import Loopback, brisk_settings, standing_for_all_hosts
from tests.unit.made_slc import Cmr

Item = dict[str, Any]

SCENES = "S1A_IW_SLC__1SSV_20160528T141908_20160528T141938_011460_011746_335C_stack.yml"
BURSTS = "SLC_BURST_stack.yml"


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Callable[[str], list[Item]]:
    folder = shared_data / "asf_search_responses/tests/yml_tests/Resources"
    held: dict[str, list[Item]] = {}

    def read(name: str) -> list[Item]:
        if name not in held:
            document = yaml.load((folder / name).read_text(), Loader=yaml.CSafeLoader)
            held[name] = document if isinstance(document, list) else [document]
        return held[name]

    return read


def item_of(recorded: Item) -> Item:
    return kept(recorded["meta"], recorded["umm"])


def around(lon: float, lat: float, start: datetime, end: datetime, **fields: Any) -> AreaOfInterest:
    """A small area there, its event in the middle of the time range."""
    middle = (start + (end - start) / 2).isoformat()
    return AreaOfInterest.model_validate(
        {
            "name": "there",
            "bbox": (lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05),
            "event": {"kind": "other", "start": middle, "end": middle, "source": "t"},
            "start": start.isoformat(),
            "end": end.isoformat(),
            "interferometry": {"most_days": 400},
            **fields,
        }
    )


def test_every_scene_says_what_asf_search_read_in_it(recorded: Callable[[str], list[Item]]) -> None:
    scenes = recorded(SCENES)
    assert len(scenes) == 176
    for scene in scenes:
        stated, found = scene["properties"], read_granule(item_of(scene))
        assert found.name == stated["sceneName"]
        assert (found.absolute_orbit, found.relative_orbit) == (stated["orbit"], stated["pathNumber"])
        assert (found.frame, found.size_bytes, found.md5) == (
            stated["frameNumber"],
            stated["bytes"],
            stated["md5sum"],
        )
        assert found.direction.upper() == stated["flightDirection"]
        assert found.platform.upper() == stated["platform"].upper()
        assert "+".join(found.polarisations).upper() == stated["polarization"]
        assert found.url == stated["url"]
        assert abs(found.start - datetime.fromisoformat(stated["startTime"])) < timedelta(seconds=1)
        assert len(found.state_vectors) == 2
        # asf-search's processingDate is the start of the scene; slidecube reads the time of processing
        assert stated["processingDate"] == stated["startTime"]
        assert found.processed is not None and found.processed > found.end


def test_every_burst_says_what_asf_search_read_in_it(recorded: Callable[[str], list[Item]]) -> None:
    bursts = recorded(BURSTS)
    assert len(bursts) == 166
    for burst in [*bursts, *recorded("SLC_BURST.yml")]:
        stated, found = burst["properties"], read_burst(item_of(burst))
        block = stated["burst"]
        assert (found.id, found.full_id, found.index) == (
            stated["fileID"],
            block["fullBurstID"],
            block["burstIndex"],
        )
        assert (found.swath, found.polarisation.upper()) == (block["subswath"], stated["polarization"])
        assert (found.tiff_url, [found.xml_url]) == (stated["url"], stated["additionalUrls"])
        assert found.tiff_url.split("/")[3] == found.granule
        assert found.start.replace(tzinfo=None, microsecond=0) == datetime.fromisoformat(
            block["azimuthTime"]
        ).replace(tzinfo=None, microsecond=0)
        lines = next(
            a["Values"][0] for a in burst["umm"]["AdditionalAttributes"] if a["Name"] == "LINES_PER_BURST"
        )
        assert found.size_bytes == stated["bytes"] == 4 * int(lines) * block["samplesPerBurst"]


def test_incomplete_metadata_is_refused_by_name_and_left_out(recorded: Callable[[str], list[Item]]) -> None:
    (empty,) = recorded("Fairbanks_SLC_Incomplete_Meta.yml")
    with pytest.raises(ArchiveError, match="GranuleUR"):
        read_granule({"meta": empty["meta"], "umm": empty["umm"]})
    (ground_range,) = recorded("S1_response.yml")
    with pytest.raises(ArchiveError, match="GranuleUR"):
        read_granule(item_of(ground_range))
    scenes = [*recorded("Fairbanks_SLC.yml"), empty, ground_range]
    held = SlcHoldings(granules=tuple(item_of(s) if s["umm"] else s for s in scenes))
    start = datetime(2021, 1, 1, tzinfo=UTC)
    found = group_granules(held, around(-147.1, 65.0, start, start + timedelta(days=30)))
    assert len(found.passes) == 1
    assert len(found.left_out) == 2


def test_missing_state_vectors_cost_the_baseline_only(recorded: Callable[[str], list[Item]]) -> None:
    (bare,) = recorded("Fairbanks_SLC_no_stateVectors.yml")
    # the recorded results lack the vectors; the recorded answer has them
    assert bare["baseline"]["stateVectors"]["positions"] == {}
    attributes = [a for a in bare["umm"]["AdditionalAttributes"] if not a["Name"].startswith("SV_")]
    bare = {**bare, "umm": {**bare["umm"], "AdditionalAttributes": attributes}}
    granule = read_granule(item_of(bare))
    assert granule.state_vectors == () and granule.relative_orbit == 94
    (whole,) = recorded("Fairbanks_SLC.yml")
    vectors = read_granule(item_of(whole)).state_vectors
    assert perpendicular_baseline_m(vectors, granule.state_vectors, -147.1, 65.0) is None


def test_the_stack_of_scenes_becomes_overflights(recorded: Callable[[str], list[Item]]) -> None:
    scenes = recorded(SCENES)
    held = SlcHoldings(granules=tuple(item_of(scene) for scene in scenes))
    start, end = datetime(2015, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    # where two slices of some overflights meet
    where = around(-120.79, 54.83, start, end)
    found = group_granules(held, where)
    of_them = [granule for one in found.passes for granule in one.granules]
    replaced = [note for note in found.notes if "processed again" in note]
    assert len(of_them) + len(replaced) <= 176
    assert len({one.id for one in found.passes}) == len(found.passes) >= 150
    assert {one.relative_orbit for one in found.passes} == {13}
    # slices shift from date to date: where two of one orbit meet the area they are one overflight
    assert any(len(one.granules) == 2 for one in found.passes)
    # this answer has no burst, so no pass is in a pair, and the reason is given for each
    chosen = choose_pairs(where, found.passes)
    assert chosen.pairs == () and len(chosen.unpaired) == len(found.passes)
    assert all("lists no vv burst" in line for line in chosen.unpaired)


def granule_of(burst: Item) -> Item:
    """The granule that a recorded burst was cut from: its own item was not recorded, the burst's states the same."""
    umm = burst["umm"]
    name = umm["InputGranules"][0].removesuffix("-SLC")
    stem = name[17:32]
    start = datetime.strptime(stem, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    end = datetime.strptime(name[33:48], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return {
        "meta": {"native-id": f"{name}-SLC"},
        "umm": {
            **umm,
            "GranuleUR": f"{name}-SLC",
            "TemporalExtent": {
                "RangeDateTime": {
                    "BeginningDateTime": start.isoformat(),
                    "EndingDateTime": end.isoformat(),
                }
            },
            "RelatedUrls": [
                {"Type": "GET DATA", "URL": f"https://datapool.asf.alaska.edu/SLC/SA/{name}.zip"}
            ],
        },
    }


def test_the_stack_of_bursts_becomes_consecutive_pairs(recorded: Callable[[str], list[Item]]) -> None:
    bursts = recorded(BURSTS)
    held = SlcHoldings(
        granules=tuple(item_of(granule_of(burst)) for burst in bursts),
        bursts=tuple(item_of(burst) for burst in bursts),
    )
    start, end = datetime(2014, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    where = around(-135.9, 57.04, start, end)
    found = group_granules(held, where)
    assert len(found.passes) == 166 and found.notes == ()
    chosen = choose_pairs(where, found.passes)
    assert len(chosen.pairs) == 165 and chosen.unpaired == ()
    stated = {b["properties"]["fileID"]: b["properties"] for b in bursts}
    for pair in chosen.pairs:
        one, other = (stated[side.bursts[0].id] for side in (pair.reference, pair.secondary))
        assert pair.burst_ids == ("174_372326_IW3",)
        assert round(pair.days) == other["temporalBaseline"] - one["temporalBaseline"]
        assert pair.perpendicular_baseline_m is not None
        # of a common reference both stated values are within 14 m, see below
        between = other["perpendicularBaseline"] - one["perpendicularBaseline"]
        assert abs(pair.perpendicular_baseline_m - between) < 35


def vectors_of(recorded: Item) -> tuple[StateVector, ...]:
    whole = recorded if recorded["umm"]["GranuleUR"].endswith("-SLC") else granule_of(recorded)
    return read_granule(item_of(whole)).state_vectors


def of_theirs(recorded: Item) -> Any:
    """What asf-search's calculation takes, with the times unrounded."""
    attributes = {a["Name"]: a["Values"][0] for a in recorded["umm"]["AdditionalAttributes"]}
    span = recorded["umm"]["TemporalExtent"]["RangeDateTime"]
    before, after = vectors_of(recorded)
    return SimpleNamespace(
        properties={
            **recorded["properties"],
            "startTime": span["BeginningDateTime"],
            "stopTime": span["EndingDateTime"],
        },
        baseline={
            "ascendingNodeTime": attributes["ASC_NODE_TIME"],
            "stateVectors": {
                "positions": {
                    "prePosition": list(before.position_m),
                    "prePositionTime": before.time.isoformat(),
                    "postPosition": list(after.position_m),
                    "postPositionTime": after.time.isoformat(),
                },
                "velocities": {
                    "preVelocity": list(before.velocity_m_s),
                    "postVelocity": list(after.velocity_m_s),
                },
            },
        },
    )


def _spline(product: Any) -> CubicHermiteSpline:
    vectors = product.baseline["stateVectors"]
    return CubicHermiteSpline(
        [product.baseline["relative_sv_pre_time"], product.baseline["relative_sv_post_time"]],
        [vectors["positions"]["prePosition"], vectors["positions"]["postPosition"]],
        [vectors["velocities"]["preVelocity"], vectors["velocities"]["postVelocity"]],
    )


@pytest.mark.parametrize("name", [SCENES, BURSTS, "Fairbanks_S1_stack.yml"])
def test_baselines_against_those_of_asf_search(
    recorded: Callable[[str], list[Item]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = recorded(name)
    reference = next(
        s for s in stack
        if s["properties"]["temporalBaseline"] == 0 and s["properties"]["perpendicularBaseline"] == 0
    )  # fmt: skip
    centre = float(reference["properties"]["centerLon"]), float(reference["properties"]["centerLat"])
    ours = np.array(
        [perpendicular_baseline_m(vectors_of(reference), vectors_of(s), *centre) for s in stack], dtype=float
    )
    stated = np.array([s["properties"]["perpendicularBaseline"] for s in stack], dtype=float)
    # asf-search draws a straight line between two positions that are 10 s apart. Seen from the turning Earth the
    # orbit bends sideways (2 x 7.29e-5 / s x 7500 m/s = 1.1 m/s²): up to 14 m between them, more beyond them
    same_slice = [i for i, s in enumerate(stack) if _overlaps(s, reference)]
    assert np.abs(ours - stated)[same_slice].max() < 14
    assert np.abs(ours - stated).max() < 40
    assert np.median(np.abs(ours - stated)) < 7
    # with the straight line replaced by the cubic that velocities allow, its calculation agrees
    monkeypatch.setattr(theirs, "get_pos_at_rel_time", lambda product, time: _spline(product)(time))
    monkeypatch.setattr(
        theirs, "get_vel_at_rel_time", lambda product, time: _spline(product).derivative()(time)
    )
    products = [of_theirs(scene) for scene in stack]
    theirs.calculate_perpendicular_baselines(reference["properties"]["sceneName"], products)
    cubic = np.array([product.properties["perpendicularBaseline"] for product in products], dtype=float)
    assert np.abs(ours - cubic).max() < 3


def _overlaps(one: Item, other: Item) -> bool:
    """Whether the vectors lie around the same stretch of the orbit, within a vector's spacing."""
    node = [
        (read.start - datetime.fromisoformat(_node(item))).total_seconds()
        for item, read in ((i, _read(i)) for i in (one, other))
    ]
    return abs(node[0] - node[1]) < 2


def _read(item: Item) -> Any:
    return read_granule(item_of(item if item["umm"]["GranuleUR"].endswith("-SLC") else granule_of(item)))


def _node(item: Item) -> str:
    return next(
        str(a["Values"][0]) for a in item["umm"]["AdditionalAttributes"] if a["Name"] == "ASC_NODE_TIME"
    )


@pytest.fixture
def cmr(recorded: Callable[[str], list[Item]]) -> Iterator[Cmr]:
    answers = [{"meta": i["meta"], "umm": i["umm"]} for n in (SCENES, BURSTS) for i in recorded(n)]
    serving = Cmr(answers, page=100)
    with Loopback() as server, brisk_settings(retries=0), standing_for_all_hosts(server):
        server.rules.append(serving)
        yield serving


def test_the_search_itself_on_recorded_answers(cmr: Cmr, recorded: Callable[[str], list[Item]]) -> None:
    where = around(
        -120.9, 54.2, datetime(2015, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC), tracks=[13, 174]
    )
    assert where.interferometry is not None
    granules, bursts = (Asf().search(one, Query.of_area(where)) for one in (SLC_GRANULES, SLC_BURSTS))
    assert [len(granules), len(bursts)] == [176, 166]
    # two pages of scenes on one track, none on the other; the same with bursts
    assert len(cmr.asked) == 2 + 1 + 1 + 2
    assert sorted(i["umm"]["GranuleUR"] for i in granules) == sorted(
        i["umm"]["GranuleUR"] for i in recorded(SCENES)
    )
    held = SlcHoldings(granules=tuple(granules), bursts=tuple(bursts))
    direct = SlcHoldings(granules=tuple(item_of(i) for i in recorded(SCENES)))
    assert group_granules(held, where).passes == group_granules(direct, where).passes
