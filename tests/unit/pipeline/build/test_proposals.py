"""What a plan proposes: passes that ASF lists and the area's own source lacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.areas.backscatter_sources import OPERA_RTC, PLANETARY_RTC
from pipeline.build.proposals import proposal_for
from pipeline.catalogue.passes import group_passes
from tests.unit.loopback import Loopback, Reply, brisk_settings, standing_for_all_hosts
from tests.unit.made_opera import umm_of
from tests.unit.made_slc import CMR_PATH, Cmr
from tests.unit.pipeline.catalogue.test_passes import area, item


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as made, brisk_settings(retries=1), standing_for_all_hosts(made):
        yield made


def test_passes_that_the_own_source_lacks_are_proposed_and_no_others(server: Loopback) -> None:
    later = umm_of("2018-09-17T20:31:00Z", orbit=23743, datatake=0x067E00)
    server.rules.append(Cmr([umm_of(), umm_of(burst="T046-098901-IW2"), later]))
    own = group_passes([item()], area()).passes
    found = proposal_for(area(), own)
    assert found is not None and found.source == OPERA_RTC and found.resolution_m == 30
    assert [one.id for one in found.passes] == ["sentinel-1a_023743_425472"]
    (line,) = found.lines(area())
    assert "slidecube build here --source opera-rtc-s1" in line


def test_where_nothing_lacks_nothing_is_proposed(server: Loopback) -> None:
    server.rules.append(Cmr([umm_of()]))
    found = proposal_for(area(), group_passes([item()], area()).passes)
    assert found is not None and found.passes == () and found.lines(area()) == []


def test_a_search_that_fails_is_said_and_stops_nothing(server: Loopback) -> None:
    server.rules.append(lambda seen: Reply(503) if seen.path.endswith(CMR_PATH.partition("/")[2]) else None)
    found = proposal_for(area(), ())
    assert found is not None and found.problem is not None and found.passes == ()
    assert len(found.lines(area())) == 1


def test_an_area_that_chose_its_sources_gets_no_proposal() -> None:
    for fields in (
        {"sources": [PLANETARY_RTC]},
        {"sources": [OPERA_RTC]},
        {"rtc_collection": "sentinel-1-rtc-2"},
    ):
        assert proposal_for(area(**fields), ()) is None
