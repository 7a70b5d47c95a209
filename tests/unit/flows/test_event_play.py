"""The steps of the play of an event, and the table of its releases."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flows.event_play import SOON_AFTER, Release, line_of, steps_of, table_of
from pipeline.events.following.waiting import THIN
from pipeline.files import write_whole
from pipeline.sandbox.publication.timetable import REVISIONS, TIMETABLE, Publication, Replacement, Timetable
from pipeline.sandbox.truth_scores import TruthScore
from tests.unit.pipeline.sandbox.posing.feeds.told_world import START, Feeds

NAME = "S1A_IW_GRDH_1SDV_20180905T203154_20180905T203219_{orbit:06d}_02BFEE_rtc"


def test_steps_are_revisions_and_whole_passes_in_order(tmp_path: Path) -> None:
    feeds = Feeds(tmp_path / "w")
    root = feeds.world.root
    (root / REVISIONS / "anew").mkdir(parents=True)
    published = START + timedelta(hours=17)
    again = Replacement(at=published + timedelta(days=7), folder="anew")
    products = (
        Publication(id=NAME.format(orbit=1), published=START - timedelta(days=60)),
        Publication(id=NAME.format(orbit=2), published=published, replaced=(again,)),
        Publication(
            id=NAME.format(orbit=2).replace("203154", "203219"), published=published + timedelta(minutes=9)
        ),
        Publication(id=NAME.format(orbit=3), published=None),
    )
    write_whole(root / TIMETABLE, Timetable(products=products).model_dump_json())
    steps = steps_of(feeds.world)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    passes = [step for step in steps if step.what.startswith("pass")]
    assert [step.at - SOON_AFTER for step in passes] == [published + timedelta(minutes=9), again.at + THIN]
    assert len(steps) - len(passes) == sum(len(one.revisions) for one in feeds.events.events)


def test_a_release_in_words(tmp_path: Path) -> None:
    score = TruthScore(average_precision=0.4321, prevalence=0.05, pixels=10, mapped=1.0)
    seconds = {"watch-events": 2.0, "map-landslides": 0.0, "all": 31.0}
    one = Release(START, "pass of orbit 7", "usgs-us1", 3, 2, score, tmp_path, seconds)
    assert "0.432" in line_of(one)
    assert "map-landslides" not in line_of(one)
    assert table_of([one, one]).count("| usgs-us1 | 3 | 2 | 0.432 | 31 |") == 2
