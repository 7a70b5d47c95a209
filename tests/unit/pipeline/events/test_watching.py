"""A watch: revisions are taken once, sources are merged, what failed is said, nothing is lost or doubled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.doctor import examine_watch
from pipeline.events import ledger, watching
from pipeline.events.feeds import feed_source
from pipeline.events.feeds.feed_source import clock_remark, read_state
from pipeline.events.feeds.usgs_feed import event_of_feature
from pipeline.events.triggering_rule import load_rules
from pipeline.events.watching import WatchReport, watch
from tests.unit.loopback import Reply
from tests.unit.pipeline.events.made_feeds import (
    AT,
    DETAIL,
    GDACS,
    GDACS_DATA,
    MONTH,
    NOW,
    WEEK,
    Sources,
    gdacs_feature,
    ground_failure,
    ms,
    usgs_feature,
)

HOKKAIDO = "usgs-us2000h8ty"


def later(minutes: float) -> int:
    return ms(AT + timedelta(minutes=minutes))


def whats(report: WatchReport) -> list[tuple[str, str]]:
    return [(change.name, change.what) for change in report.changes]


def test_an_event_is_detected_with_its_products(sources: Sources) -> None:
    sources.usgs(
        usgs_feature(),
        usgs_feature("us2000aaaa", mag=5.0),
        products={"us2000h8ty": {"ground-failure": [ground_failure()]}},
    )
    report = watch(NOW)
    assert whats(report) == [(HOKKAIDO, "detected")]
    assert report.changes[0].opened and not report.failures
    entry = ledger.read(HOKKAIDO)
    assert entry.tier == "build" and entry.event.ground_failure is not None
    assert entry.event.ground_failure.hazard_km2 == 29.7
    assert entry.event.ground_failure.bounds == (141.2, 42.1, 142.9, 43.3)
    assert ledger.names() == [HOKKAIDO]
    assert sources.asked(DETAIL.format("us2000aaaa")) == 0


def test_an_unchanged_feed_is_not_sent_again(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    watch(NOW)
    again = watch(NOW + timedelta(minutes=15))
    assert [source.result for source in again.sources] == ["unchanged", "unchanged"]
    assert not again.changes and sources.asked(DETAIL.format("us2000h8ty")) == 1
    assert read_state("usgs").looked == NOW + timedelta(minutes=15)


def test_revisions_are_evaluated_again_and_never_doubled(sources: Sources) -> None:
    sources.usgs(usgs_feature(mag=5.8))
    watch(NOW)
    assert ledger.read(HOKKAIDO).tier == "watch"
    sources.usgs(usgs_feature(mag="6.6", updated=str(later(40))))
    raised = watch(NOW + timedelta(minutes=15))
    assert whats(raised) == [(HOKKAIDO, "revised")] and raised.changes[0].opened
    sources.usgs(usgs_feature(mag=5.4, updated=later(60)))
    lowered = watch(NOW + timedelta(minutes=30))
    entry = ledger.read(HOKKAIDO)
    assert not lowered.changes[0].opened
    assert entry.tier == "build" and entry.open
    assert [each.magnitude for each in entry.revisions] == [5.8, 6.6, 5.4]
    assert "stays build" in entry.history[-1].words
    assert ledger.names() == [HOKKAIDO]


def test_an_older_revision_that_arrives_late_changes_nothing(sources: Sources) -> None:
    sources.usgs(usgs_feature(updated=later(40)))
    watch(NOW)
    known = ledger.read(HOKKAIDO)
    sources.usgs(usgs_feature(mag=7.9, updated=later(5)))
    assert not watch(NOW + timedelta(minutes=15)).changes
    assert ledger.read(HOKKAIDO) == known


def test_a_revision_from_the_far_future_does_not_outlast_true_ones(sources: Sources) -> None:
    sources.usgs(usgs_feature(mag=6.1, updated=ms(AT + timedelta(days=40_000))))
    watch(NOW)
    sources.usgs(usgs_feature(mag=6.9, updated=ms(NOW + timedelta(minutes=10))))
    watch(NOW + timedelta(minutes=15))
    assert [each.magnitude for each in ledger.read(HOKKAIDO).revisions] == [6.1, 6.9]


def test_the_preferred_id_may_change(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    watch(NOW)
    sources.usgs(usgs_feature("at00pemv7g", ids=",us2000h8ty,at00pemv7g,", updated=later(40)))
    watch(NOW + timedelta(minutes=15))
    assert ledger.names() == [HOKKAIDO]
    assert ledger.read(HOKKAIDO).event.id == "at00pemv7g"


@pytest.mark.parametrize("status", ["deleted", None])
def test_a_retracted_event_is_said(sources: Sources, status: str | None) -> None:
    sources.usgs(usgs_feature())
    watch(NOW)
    if status is not None:
        sources.usgs(usgs_feature(status=status, updated=later(50)))
    else:
        sources.usgs()
        sources.server.rules.insert(0, lambda seen: Reply(409) if "detail" in seen.path else None)
    report = watch(NOW + timedelta(hours=1))
    assert whats(report) == [(HOKKAIDO, "retracted")]
    entry = ledger.read(HOKKAIDO)
    assert (entry.state, entry.open, entry.event.status) == ("retracted", False, "retracted")
    assert "retracted" in entry.history[-1].words
    assert not watch(NOW + timedelta(hours=2)).changes


def answers(sources: Sources, *replies: Reply) -> None:
    """GDACS's document of an event, one reply after the other, the last for good."""
    left = list(replies)
    sources.server.rules.insert(
        0,
        lambda seen: (
            (left.pop(0) if len(left) > 1 else left[0]) if seen.path.startswith(GDACS_DATA) else None
        ),
    )


def past(**properties: Any) -> Reply:
    return Reply(200, {}, json.dumps(gdacs_feature(iscurrent="false", **properties)).encode())


@pytest.mark.parametrize("status", [204, 404, 410])
def test_an_event_that_gdacs_alone_had_and_has_no_longer_is_retracted(sources: Sources, status: int) -> None:
    sources.gdacs(gdacs_feature())
    watch(NOW)
    sources.gdacs()
    answers(sources, Reply(status))
    report = watch(NOW + timedelta(hours=1))
    assert whats(report) == [("gdacs-eq1155123", "retracted")]
    assert ledger.read("gdacs-eq1155123").state == "retracted"
    assert not watch(NOW + timedelta(hours=2)).changes


def test_an_event_that_left_the_list_of_gdacs_is_past_and_not_retracted(sources: Sources) -> None:
    sources.gdacs(gdacs_feature())
    watch(NOW)
    sources.gdacs()
    answers(sources, past())
    report = watch(NOW + timedelta(hours=1))
    assert whats(report) == [("gdacs-eq1155123", "revised")]
    entry = ledger.read("gdacs-eq1155123")
    assert (entry.open, entry.event.current) == (True, False), "passes are still looked for"
    assert "past" in entry.history[-1].words
    assert not watch(NOW + timedelta(days=3)).changes, "it is said once"


def test_an_event_that_the_list_calls_past_is_told_though_nothing_else_is_new(sources: Sources) -> None:
    sources.gdacs(gdacs_feature())
    watch(NOW)
    sources.gdacs(gdacs_feature(iscurrent=False))
    assert whats(watch(NOW + timedelta(hours=1))) == [("gdacs-eq1155123", "revised")]
    assert not watch(NOW + timedelta(hours=2)).changes


def test_an_event_that_the_list_has_no_room_for_and_is_current_stays_as_it_is(sources: Sources) -> None:
    sources.gdacs(gdacs_feature())
    watch(NOW)
    sources.gdacs(gdacs_feature(number=7, lat=10.0, lon=10.0))
    answers(sources, Reply(200, {}, json.dumps(gdacs_feature()).encode()))
    assert "gdacs-eq1155123" not in [name for name, _ in whats(watch(NOW + timedelta(hours=1)))]
    asked = sum(seen.path.startswith(GDACS_DATA) for seen in sources.server.seen)
    watch(NOW + timedelta(hours=2))
    assert sum(seen.path.startswith(GDACS_DATA) for seen in sources.server.seen) == asked, "once a day"


@pytest.mark.parametrize("reply", [Reply(500), Reply(200, {}, b"{}"), past(eventid=9)])
def test_a_document_of_gdacs_that_cannot_be_read_retracts_nothing(sources: Sources, reply: Reply) -> None:
    sources.gdacs(gdacs_feature())
    watch(NOW)
    sources.gdacs()
    answers(sources, reply, Reply(204))
    report = watch(NOW + timedelta(hours=1))
    assert not report.changes and report.failures
    assert whats(watch(NOW + timedelta(hours=2))) == [("gdacs-eq1155123", "retracted")]


def test_what_both_sources_state_is_not_asked_of_gdacs(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    sources.gdacs(gdacs_feature())
    watch(NOW)
    sources.gdacs()
    assert not watch(NOW + timedelta(hours=1)).changes
    assert not any(seen.path.startswith(GDACS_DATA) for seen in sources.server.seen)


def test_a_retracted_event_that_is_stated_again_is_open_again(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    watch(NOW)
    sources.usgs(usgs_feature(status="deleted", updated=later(50)))
    watch(NOW + timedelta(hours=1))
    sources.usgs(usgs_feature(status="reviewed", updated=later(90)))
    assert watch(NOW + timedelta(hours=2)).changes[0].opened
    assert ledger.read(HOKKAIDO).state == "detected"


@pytest.mark.parametrize("shared_id", [True, False])
@pytest.mark.parametrize("first", ["usgs", "gdacs"])
def test_both_sources_state_one_event_once(sources: Sources, first: str, shared_id: bool) -> None:
    of_gdacs = gdacs_feature(sourceid="us2000h8ty") if shared_id else gdacs_feature()
    if first == "usgs":
        sources.usgs(usgs_feature())
        watch(NOW)
        sources.gdacs(of_gdacs)
    else:
        sources.gdacs(of_gdacs)
        watch(NOW)
        sources.usgs(usgs_feature())
    watch(NOW + timedelta(minutes=15))
    assert len(ledger.names()) == 1
    event = ledger.read(ledger.names()[0]).event
    assert (event.source, event.also) == ("usgs", ("gdacs:EQ1155123",))
    watch(NOW + timedelta(minutes=30))
    assert len(ledger.names()) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"lon": 150.0},
        {"fromdate": "2018-09-05T18:20:00"},
        {"severitydata": {"severity": 5.5, "severityunit": "M"}},
    ],
)
def test_another_earthquake_of_gdacs_is_not_merged(sources: Sources, other: dict[str, object]) -> None:
    sources.usgs(usgs_feature())
    sources.gdacs(gdacs_feature(**({"lat": 44.0, "lon": 145.3} if "lon" in other else other)))
    watch(NOW)
    assert ledger.names() == ["gdacs-eq1155123", HOKKAIDO]


def test_a_source_that_fails_does_not_stop_the_other(sources: Sources) -> None:
    sources.gdacs(gdacs_feature())
    sources.server.rules.insert(0, lambda seen: Reply(503) if seen.path == WEEK else None)
    report = watch(NOW)
    assert [source.result for source in report.sources] == ["failed", "new"]
    assert whats(report) == [("gdacs-eq1155123", "detected")]
    assert len(report.failures) == 1
    state = read_state("usgs")
    assert (state.failed, state.looked) == (NOW, None) and "503" in state.failure


@pytest.mark.parametrize(
    ("hours", "words"), [(-24.0, "24.0 hours ahead of"), (24.0, "hours behind"), (-1.1, "1.1 hours")]
)
def test_a_wrong_clock_and_an_old_copy_are_said(hours: float, words: str) -> None:
    assert words in clock_remark("USGS", NOW + timedelta(hours=hours), NOW)
    assert clock_remark("USGS", NOW, NOW) == clock_remark("USGS", None, NOW) == ""


def test_a_wrong_clock_keeps_no_event_from_the_ledger(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_source, "MOST_APART", timedelta(days=-1))
    hours_ago = datetime.now(UTC) - timedelta(hours=3)
    sources.usgs(usgs_feature(time=ms(hours_ago), updated=ms(hours_ago + timedelta(minutes=20))))
    report = watch()
    assert [change.what for change in report.changes] == ["detected"] and len(report.failures) == 2
    assert read_state("usgs").failed is None
    assert not watch(NOW).failures, "an instant that is given says nothing of the clock"


def test_a_pause_that_a_source_asks_for_is_kept(sources: Sources) -> None:
    busy = Reply(429, {"Retry-After": "1800"})
    sources.server.rules.insert(0, lambda seen: busy if seen.path == GDACS else None)
    watch(NOW)
    asked = sources.asked(GDACS)
    sources.server.rules.pop(0)
    assert watch(NOW + timedelta(minutes=15)).sources[1].result == "paused"
    assert sources.asked(GDACS) == asked
    assert watch(NOW + timedelta(minutes=31)).sources[1].result == "new"


def test_an_event_whose_document_fails_is_kept_and_read_again(sources: Sources) -> None:
    sources.usgs(usgs_feature(), products={"us2000h8ty": {"ground-failure": [ground_failure("red", "300")]}})
    sources.server.rules.insert(0, lambda seen: Reply(500) if "detail" in seen.path else None)
    report = watch(NOW)
    assert whats(report) == [(HOKKAIDO, "detected")] and report.failures
    assert ledger.read(HOKKAIDO).tier == "build"
    sources.server.rules.pop(0)
    again = watch(NOW + timedelta(minutes=15))
    assert whats(again) == [(HOKKAIDO, "revised")] and not again.failures
    assert ledger.read(HOKKAIDO).tier == "priority"


def test_the_feed_of_a_month_is_read_after_a_long_pause(sources: Sources) -> None:
    watch(NOW)
    sources.usgs(usgs_feature())
    sources.server.files[MONTH] = sources.server.files[WEEK]
    assert watch(NOW + timedelta(days=8)).changes
    assert sources.asked(MONTH) == 1


def test_an_open_event_that_left_the_feed_is_looked_at_once_a_day(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    watch(NOW)
    sources.usgs()
    path = DETAIL.format("us2000h8ty")
    sources.server.files[MONTH] = sources.server.files[WEEK]
    document = usgs_feature(updated=later(60 * 24 * 8), mag=6.7)
    sources.server.files[path] = json.dumps(document).encode()
    asked = sources.asked(path)
    for hours in (0, 1, 2, 25):
        watch(NOW + timedelta(days=8, hours=hours))
    assert sources.asked(path) == asked + 2
    assert ledger.read(HOKKAIDO).event.magnitude == 6.7


def test_a_dry_run_changes_nothing(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    report = watch(NOW, dry_run=True)
    assert whats(report) == [(HOKKAIDO, "detected")] and report.dry_run
    assert not ledger.folder().exists() and read_state("usgs").looked is None


def test_a_dismissed_event_stays_dismissed(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    watch(NOW)
    with ledger.locked():
        ledger.save(ledger.read(HOKKAIDO).model_copy(update={"state": "dismissed"}))
    sources.usgs(usgs_feature(mag=7.9, updated=later(40)))
    watch(NOW + timedelta(minutes=15))
    assert ledger.read(HOKKAIDO).state == "dismissed"
    assert not ledger.read(HOKKAIDO).open


def test_a_damaged_entry_is_named_and_stops_nothing(sources: Sources) -> None:
    ledger.folder().mkdir(parents=True)
    (ledger.folder() / "usgs-damaged.json").write_text("{")
    sources.usgs(usgs_feature())
    report = watch(NOW)
    assert len(report.damaged) == 1 and "usgs-damaged" in report.damaged[0]
    assert whats(report) == [(HOKKAIDO, "detected")]


def test_a_changed_rule_is_applied_to_what_is_watched(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.usgs(usgs_feature(mag=5.8))
    watch(NOW)
    rules = load_rules()
    rows = tuple(row.model_copy(update={"magnitude": 5.0, "tier": "build"}) for row in rules.earthquake.rows)
    stricter = rules.model_copy(update={"earthquake": rules.earthquake.model_copy(update={"rows": rows})})
    report = watch(NOW + timedelta(minutes=15), rules=stricter)
    assert whats(report) == [(HOKKAIDO, "revised")] and report.changes[0].opened


def test_people_exposed_to_strong_shaking_are_counted(sources: Sources) -> None:
    path = "earthquake.usgs.gov/product/losspager/us2000h8ty/us/1/json/exposures.json"
    exposure = {
        "mmi": list(range(1, 11)),
        "aggregated_exposure": [0, 0, 0, 9e6, 8e6, 7e6, 150000, "5000", None, 0],
    }
    sources.server.files[path] = json.dumps({"population_exposure": exposure}).encode()
    contents = {"json/exposures.json": {"url": f"https://{path}"}}
    sources.usgs(usgs_feature(), products={"us2000h8ty": {"losspager": [{"contents": contents}]}})
    watch(NOW)
    entry = ledger.read(HOKKAIDO)
    assert entry.event.population == 155000 and entry.tier == "priority"


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/x.json", "https://earthquake.usgs.gov/absent.json", 5]
)
def test_an_exposure_that_cannot_be_had_stops_nothing(sources: Sources, url: object) -> None:
    contents = {"json/exposures.json": {"url": url}}
    sources.usgs(usgs_feature(), products={"us2000h8ty": {"losspager": [{"contents": contents}]}})
    report = watch(NOW)
    assert not report.failures and ledger.read(HOKKAIDO).event.population is None
    assert all("elsewhere" not in seen.path for seen in sources.server.seen)


def test_a_kill_before_the_look_is_noted_loses_and_doubles_nothing(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    sources.usgs(usgs_feature())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(watching, "save_state", killed)
        watch(NOW)
    known = ledger.read(HOKKAIDO)
    report = watch(NOW + timedelta(minutes=1))
    assert not report.changes and ledger.read(HOKKAIDO) == known
    assert read_state("usgs").looked == NOW + timedelta(minutes=1)


def test_two_entries_of_one_event_become_one(sources: Sources) -> None:
    sources.gdacs(gdacs_feature(lat=44.0, lon=145.3))
    sources.usgs(usgs_feature())
    watch(NOW)
    assert len(ledger.names()) == 2
    sources.gdacs(
        gdacs_feature(lat=44.0, lon=145.3, sourceid="us2000h8ty", datemodified="2018-09-05T19:00:00")
    )
    watch(NOW + timedelta(minutes=15))
    assert ledger.read("gdacs-eq1155123").state == "dismissed"
    assert ledger.read(HOKKAIDO).open


REVISIONS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([None, 4.6, 5.6, 6.6]), st.sampled_from(["automatic", "deleted"])),
    min_size=1, max_size=8,
)  # fmt: skip


@hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@given(REVISIONS)
def test_in_whatever_order_revisions_arrive_there_is_one_entry_of_the_newest(
    revisions: list[tuple[int, float | None, str]],
) -> None:
    for path in ledger.folder().glob("*.json"):
        path.unlink()
    rules, opened, stated = load_rules(), False, []
    for minutes, magnitude, status in revisions * 2:
        feature = usgs_feature(mag=magnitude, updated=later(minutes), status=status)
        event = event_of_feature(feature)
        assert event is not None
        changes = watching.record([event], rules, NOW)
        assert len(ledger.names()) <= 1
        if not ledger.names():
            continue
        stated.append(event.updated)
        entry = ledger.read(HOKKAIDO)
        instants = [each.updated for each in entry.revisions]
        assert instants == sorted(set(instants)) and entry.event.updated == max(stated)
        opened = opened or any(change.opened for change in changes)
        assert entry.tier == "build" or not opened


def test_the_doctor_says_when_each_source_was_last_seen(sources: Sources) -> None:
    assert [finding.state for finding in examine_watch()] == ["ok", "missing", "missing"]
    sources.server.rules.insert(0, lambda seen: Reply(503) if seen.path == WEEK else None)
    watch(NOW)
    rule, usgs, gdacs = examine_watch()
    assert (rule.state, usgs.state, gdacs.state) == ("ok", "missing", "ok")
    assert "503" in usgs.detail and "2018-09-05 20:07" in gdacs.detail


def test_no_login_is_sent(sources: Sources) -> None:
    watch(NOW)
    assert sources.server.seen and all("authorization" not in seen.headers for seen in sources.server.seen)


def test_what_a_server_marks_as_simulated_says_so(sources: Sources) -> None:
    sources.usgs(usgs_feature())
    body = sources.server.files[WEEK]
    marked = Reply(200, {"Slidecube-Simulated": "true"}, body)
    document = Reply(200, {"Slidecube-Simulated": "true"}, sources.server.files[DETAIL.format("us2000h8ty")])
    sources.server.rules.insert(0, lambda seen: marked if seen.path == WEEK else None)
    sources.server.rules.insert(0, lambda seen: document if "detail" in seen.path else None)
    watch(NOW)
    assert ledger.read(HOKKAIDO).event.simulated


def test_instants_of_a_report_are_the_given_one(sources: Sources) -> None:
    at = datetime.fromisoformat("2018-09-05T22:08:00+02:00")
    assert watch(at).at.isoformat() == "2018-09-05T20:08:00+00:00"
