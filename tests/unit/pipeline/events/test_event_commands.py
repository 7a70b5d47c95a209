"""The commands `slidecube event ...` as a person uses them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from pipeline.events import ledger
from pipeline.events.catalogue_replay import replay
from pipeline.events.cli import event
from pipeline.events.triggering_rule import load_rules
from pipeline.events.watching import watch
from tests.unit.pipeline.events.made_feeds import NOW, Sources, collection, usgs_feature

HOKKAIDO = "usgs-us2000h8ty"
DAY = "2024-01-01T00:00:00Z"
WHEN = "when: 2024-06-15T03:00:00Z\n"
RAIN = ("add", "--at", "-66.5,18.2", "--when", "2017-09-20T10:15:00Z", "--until", "2017-09-21T10:00:00+00:00")


def invoke(*words: str, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(event, list(words))


@pytest.fixture
def watched(sources: Sources) -> Sources:
    sources.usgs(
        usgs_feature(place="[red]27 km[/red] E of \x1b[31mTomakomai, a long name of a place in Japan")
    )
    watch(NOW)
    return sources


def test_the_list_holds_at_80_columns_and_shows_text_as_it_is(watched: Sources) -> None:
    invoke(*RAIN)
    ended = invoke("list")
    assert ended.exit_code == 0
    assert all(len(line.rstrip()) <= 80 for line in ended.output.splitlines())
    assert HOKKAIDO in ended.output and "[red]" in ended.output and "\x1b" not in ended.output
    assert json.loads(invoke("list", "--json").output)[0]["name"] == HOKKAIDO


@pytest.mark.parametrize("name", [HOKKAIDO, "us2000h8ty", "US2000H8TY"])
def test_an_event_is_shown_by_name_or_id(watched: Sources, name: str) -> None:
    ended = invoke("show", name)
    assert ended.exit_code == 0 and "M 6.6" in ended.output and "detected" in ended.output
    shown = json.loads(invoke("show", name, "--json").output)
    assert shown["tier"] == "build" and len(shown["revisions"]) == 1


@pytest.mark.parametrize(
    "words", [("show", "us2000h8tx"), ("dismiss", "usgs-us2000h8t"), ("pause", "../../etc/passwd")]
)
def test_an_unknown_event_ends_with_status_2(watched: Sources, words: tuple[str, ...]) -> None:
    ended = invoke(*words)
    assert ended.exit_code == 2
    assert ("Did you mean" in ended.output) == ("passwd" not in ended.output)


def test_a_misspelt_command_offers_the_nearest() -> None:
    ended = invoke("dismis", "x")
    assert ended.exit_code == 2 and "'dismiss'" in ended.output


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("dismiss", HOKKAIDO, "--note", "no landslides"), "state", "dismissed"),
        (("widen", HOKKAIDO, "--km", "15"), "margin_km", 15.0),
        (("pause", HOKKAIDO), "paused", True),
        (("promote", HOKKAIDO, "--tier", "priority"), "forced", "priority"),
        (("add", "--usgs", "us2000h8ty"), "forced", "build"),
    ],
)
def test_each_change_has_a_dry_run(watched: Sources, words: tuple[str, ...], field: str, value: Any) -> None:
    before = ledger.read(HOKKAIDO)
    dry = invoke(*words, "--dry-run")
    assert dry.exit_code == 0 and "would be" in dry.output
    assert ledger.read(HOKKAIDO) == before
    done = json.loads(invoke(*words, "--json").output)
    after = ledger.read(HOKKAIDO)
    assert getattr(after, field) == value
    assert len(after.history) == len(before.history) + 1
    assert done[0]["name"] == HOKKAIDO and done[0]["dry_run"] is False


def test_what_was_dismissed_or_paused_is_resumed(watched: Sources) -> None:
    for word in ("dismiss", "pause"):
        invoke(word, HOKKAIDO)
    assert not ledger.read(HOKKAIDO).open
    assert invoke("resume", HOKKAIDO).exit_code == 0
    assert ledger.read(HOKKAIDO).open and ledger.read(HOKKAIDO).state == "detected"


def test_the_rule_decides_again_when_a_person_gives_the_decision_back(watched: Sources) -> None:
    invoke("promote", HOKKAIDO, "--tier", "none")
    assert not ledger.read(HOKKAIDO).open
    invoke("promote", HOKKAIDO, "--tier", "rule")
    assert ledger.read(HOKKAIDO).forced is None and ledger.read(HOKKAIDO).open


def test_rain_is_added_by_place_and_time_once() -> None:
    assert invoke(*RAIN).exit_code == invoke(*RAIN).exit_code == 0
    (name,) = ledger.names()
    entry = ledger.read(name)
    assert (entry.event.source, entry.event.kind, entry.tier, entry.open) == (
        "manual",
        "rainfall",
        "build",
        True,
    )
    assert entry.event.end - entry.event.start == timedelta(hours=23, minutes=45)
    west, south, east, north = entry.event.shaking or (0, 0, 0, 0)
    assert west < -66.5 < east and north - south == pytest.approx(2 * 25 / 111.195, rel=1e-3)


def test_a_dry_run_leaves_no_ledger() -> None:
    assert invoke(*RAIN, "--dry-run").exit_code == 0
    assert not ledger.folder().exists()


@pytest.mark.parametrize(
    "words",
    [
        (), ("--at", "1,2"), ("--at", "1", "--when", DAY), ("--at", "1,99", "--when", DAY),
        ("--at", "1,2", "--when", "2024-01-01T00:00:00"), ("--at", "1,2", "--when", "tomorrow"),
        ("--at", "1,2", "--when", DAY, "--usgs", "us1"),
        ("--at", "1,2", "--when", DAY, "--until", "2023-01-01T00:00:00Z"),
        ("--at", "1,2", "--when", DAY, "--kind", "flood"), ("--file", "absent.yaml"),
    ],
)  # fmt: skip
def test_a_wrong_statement_ends_with_status_2(words: tuple[str, ...]) -> None:
    ended = invoke("add", *words)
    assert ended.exit_code == 2 and "Traceback" not in ended.output
    assert not ledger.names()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rain.yaml", f"{WHEN}until: 2024-06-16T03:00:00Z\nat: [137.2, 36.5]\nradius_km: 40\nplace: Noto\n"),
        ("rain.json", '{"when": "2024-06-15T03:00:00Z", "bbox": [137, 36, 138, 37]}'),
        ("rain.geojson", json.dumps({"type": "FeatureCollection", "features": [{
            "type": "Feature", "properties": {"when": "2024-06-15T03:00:00Z", "kind": "hurricane"},
            "geometry": {"type": "Polygon", "coordinates": [[[137, 36], [138, 36], [138, 37], [137, 36]]]},
        }]})),
    ],
)  # fmt: skip
def test_events_are_added_by_file(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    ended = invoke("add", "--file", str(path), "--tier", "priority")
    assert ended.exit_code == 0, ended.output
    entry = ledger.read(ledger.names()[0])
    assert entry.tier == "priority" and entry.event.shaking is not None
    assert entry.event.start == datetime(2024, 6, 15, 3, tzinfo=UTC)
    assert 136 < entry.event.shaking[0] <= 137.2


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", WHEN, "at: [1, 2]", "when: 2024-06-15\nat: [1, 2]", f"{WHEN}at: [1, 200]", f"{WHEN}at: [1]",
        "features: []\ntype: FeatureCollection", f"{WHEN}at: [1, 2]\nradius_km: .nan",
        f"{WHEN}at: [1, 2]\nradius_km: -4",
        f"{WHEN}at: [1, 2]\nmagnitude: big", f"{WHEN}at: [1, 2]\nid: ../x", f"{WHEN}at: [1, 2]\nwhat: 4",
        f"{WHEN}geometry: {{type: Polygon}}",
    ],
)  # fmt: skip
def test_a_wrong_file_ends_with_status_2(text: str, tmp_path: Path) -> None:
    path = tmp_path / "event.yaml"
    path.write_text(text)
    ended = invoke("add", "--file", str(path))
    assert ended.exit_code == 2 and "Traceback" not in ended.output, ended.output
    assert not ledger.names()


def test_an_event_that_the_rule_does_not_want_is_added_by_its_id(sources: Sources) -> None:
    sources.usgs(usgs_feature("us2000aaaa", mag=4.9))
    assert invoke("add", "--usgs", "us2000aaaa").exit_code == 0
    assert ledger.read("usgs-us2000aaaa").open
    watch(NOW)
    assert ledger.read("usgs-us2000aaaa").open
    assert invoke("add", "--usgs", "us2000zzzz").exit_code == 3


CSV = """time,latitude,longitude,depth,mag,magType,nst,gap,dmin,rms,net,id,updated,place,type,status
2018-09-05T18:07:59.150Z,42.686,141.929,35,6.6,mww,,30,1.1,1.2,us,us2000h8ty,,"27 km E, Japan",earthquake,reviewed
2018-09-06T15:49:18.710Z,-18.47,179.35,670.81,7.9,mww,,20,1,1,us,us2000h9e2,,Fiji,earthquake,reviewed
2018-09-07T00:00:00.000Z,1.0,,10,5,mb,,,,,us,us2000xxxx,,no place,earthquake,reviewed
"""


@pytest.mark.parametrize("form", ["geojson", "csv"])
def test_a_catalogue_is_replayed(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"year.{form}"
    deep = usgs_feature("us2000h9e2", mag=7.9, lon=179.35, lat=-18.47, depth=670.81)
    path.write_bytes(
        CSV.encode() if form == "csv" else collection(usgs_feature(), deep, usgs_feature(), {"id": "x"})
    )
    found = replay(path, load_rules())
    assert found.counts == {"none": 1, "watch": 0, "build": 1, "priority": 0}
    assert found.left_out == 1
    ended = invoke("replay", str(path))
    assert ended.exit_code == 0 and "us2000h8ty" in ended.output and "h9e2" not in ended.output
    assert all(len(line.rstrip()) <= 80 for line in ended.output.splitlines()[:4])
    shown = json.loads(invoke("replay", str(path), "--all", "--json").output)
    assert shown["counts"]["build"] == 1 and len(shown["listed"]) == 2
    assert not ledger.folder().exists()


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff\xfe", b"a,b\n1,2\n", b'{"features": []}', b'"' * 300_000])
def test_what_is_no_catalogue_ends_with_status_4(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "year.csv"
    path.write_bytes(raw)
    ended = invoke("replay", str(path))
    assert ended.exit_code == 4 and "Traceback" not in ended.output


def test_a_ledger_without_events_says_so() -> None:
    assert "No open events." in invoke("list").output


LONG = "us" + "a1" * 29
"""60 characters"""


@pytest.mark.parametrize("place", ["x" * 200, "a place " * 20, "北海道胆振東部" * 10])
def test_no_table_is_wider_than_the_terminal_whatever_names_it_holds(place: str, tmp_path: Path) -> None:
    for number in range(3):
        ended = invoke(*RAIN[:4], f"2017-09-2{number}T10:15:00Z", "--place", place)
        assert ended.exit_code == 0, ended.output
    one = usgs_feature(LONG[:32], place=place)
    (tmp_path / "year.geojson").write_bytes(collection(one))
    file = tmp_path / "named.yaml"
    file.write_text(f"id: {LONG}\nat: [142, 43]\nradius_km: 10\nplace: {place!r}\n{WHEN}", encoding="utf-8")
    assert invoke("add", "--file", str(file)).exit_code == 0
    for words in (("list", "--all"), ("replay", str(tmp_path / "year.geojson"), "--all")):
        ended = invoke(*words)
        assert ended.exit_code == 0, ended.output
        assert all(cell_len(line) <= 80 for line in ended.output.splitlines() if not line.startswith("rule:"))
        folded = "".join(line[:31] for line in ended.output.splitlines())
        assert LONG[:12] in folded, "a name is folded, never cut"
