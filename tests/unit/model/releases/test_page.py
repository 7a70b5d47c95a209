"""The page opens without a network, says what a reader must know, and shows text from outside as text."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from model.detector.pass_status import WORDS
from model.releases.categories import STATUS_COLOURS, rgb, score_ramp
from model.releases.finished_map import PageImages
from model.releases.vector_layers import layers_of
from model.releases.web_page import page_map
from model.releases.web_page.page import PAGE, write_page
from model.releases.web_page.page_images import NO_DATA_COLOUR, hillshade, map_picture, score_overlay
from pipeline.events.following.pass_account import PassAccount
from tests.unit.model.releases.conftest import LICENCE


class Reader(HTMLParser):
    """The elements of a page, the text outside of scripts, and the addresses that it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._within.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "poster", "data"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}")

    def handle_endtag(self, tag):
        if tag in self._within:
            while self._within.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._within[-1:]):
            self.words.append(data)


@pytest.fixture(scope="module")
def text(folder) -> str:
    return (folder / PAGE).read_text(encoding="utf-8")


def words(text: str) -> str:
    return " ".join(" ".join(Reader(text).words).split())


def test_nothing_is_loaded_from_elsewhere(text):
    read = Reader(text)
    assert read.addresses and all(address.startswith("data:image/") for address in read.addresses)
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(read.tags)
    assert "default-src 'none'" in text and not re.search(
        r"(connect|script|style|img)-src[^;\"]*https?:", text
    )
    assert "@import" not in text.partition("</style>")[0]
    assert len(text) < 6_000_000


def test_text_from_outside_is_text(text):
    read = Reader(text)
    assert not read.handlers
    shown = words(text)
    assert "<script>alert(1)</script>]]>" in shown and LICENCE in shown, "they are shown as they are"
    assert "<script>alert(1)" not in text and "<img src=x" not in text, "and are no markup"
    assert "49" not in re.findall(r"reversed ([^ ]+)", shown) and "{{ 7*7 }}" in shown
    assert "\x07" not in text and "\u202e" not in text


def test_it_says_what_a_reader_must_know(made, text):
    finished, _ = made
    shown = words(text)
    for part in (
        "SIMULATED AREA", "Unreviewed.", "track 46 (descending)", "2018-09-05 18:07:59 UTC",
        "No ascending pass is used", "What it cannot see", "layover", "felling",
        "1200 m²", "without data", "The cube lacks:", "The detector is not trained",
        "8 passes before and 2 after the event", "exposure.csv", "landslides.gpkg",
    ):  # fmt: skip
        assert part in shown, part
    for view in finished.selection.every_view:
        for used in (*view.before, *view.after):
            assert f"{used.instant:%Y-%m-%d %H:%M}" in shown
    assert f"{finished.record.polygons} polygon" in shown.replace("  ", " ")


def test_a_models_page_states_its_score_and_no_detector(by_model, tmp_path):
    record = by_model.record.model_copy(
        update={"expected_words": "Expected score with 3 passes: AUPRC 0.5", "statements": ("Of 8 events",)}
    )
    finished = replace(by_model, record=record, warning="", exposure=())
    layers = layers_of(finished)
    write_page(replace(finished, folder=tmp_path), layers[0])
    shown = words((tmp_path / PAGE).read_text(encoding="utf-8"))
    assert (
        "Expected score with 3 passes: AUPRC 0.5." in shown
        and "Of 8 events" in shown
        and "Probability of landslide" in shown
    )
    assert "detector" not in shown and "SIMULATED" not in shown and "What lies within" not in shown


def test_without_a_polygon_the_page_says_so(made, tmp_path):
    record = made[0].record.model_copy(update={"polygons": 0, "mapped_km2": 0.0, "statuses": {}})
    finished = replace(made[0], frame=made[0].frame.iloc[:0], record=record)
    layer = layers_of(finished)[0]
    write_page(replace(finished, folder=tmp_path), layer)
    assert "Nothing was found above the threshold" in words((tmp_path / PAGE).read_text(encoding="utf-8"))


def test_the_page_shows_the_largest_polygons(made, monkeypatch):
    layer = layers_of(made[0])[0]
    monkeypatch.setattr(page_map, "MOST_POLYGONS", 2)
    shown = page_map.largest(layer)
    assert list(shown.area_m2) == sorted(layer.frame.area_m2, reverse=True)[:2]


def images_of() -> PageImages:
    """A slope, a strip without data, scores from nothing to above the threshold."""
    score = np.tile(np.linspace(0, 8, 40), (30, 1))
    score[:, :3] = np.nan
    dem = np.tile(np.linspace(900, 0, 40), (30, 1))
    return PageImages(before=score * 0 - 10, after=score * 0 - 9, dem=dem, score=score, block_px=1)


def test_pictures_show_no_data_as_no_data_and_low_scores_not_at_all():
    images = images_of()
    ground = np.asarray(hillshade(images, 10.0))
    over = np.asarray(score_overlay(images, score_ramp(4.0, 11.0)))
    unknown = ~np.isfinite(images.score)
    assert (ground[unknown] == NO_DATA_COLOUR).all() and (over[unknown] == 0).all()
    assert (over[images.score < 2.0, 3] == 0).all() and over[images.score > 4.0, 3].min() > 200


def test_the_picture_for_paper_has_the_outlines_in_their_colours(made):
    finished, _ = made
    layer = layers_of(finished)[0]
    paper = map_picture(finished, layer)
    (colour,) = {fill.colour for fill in layer.fills} & {
        STATUS_COLOURS[int(v)] for v in finished.frame.status
    }
    larger = paper.width // finished.facts.shape[1]
    assert larger >= 9 and paper.size == (larger * finished.facts.shape[1], larger * finished.facts.shape[0])
    numbered = map_picture(finished, layer, set(layer.frame["id"]))
    changed = (np.asarray(numbered) != np.asarray(paper)).any(axis=-1)
    assert changed.any() and changed.mean() < 0.02, "a number beside each polygon, and nothing else"
    assert (np.asarray(paper) == np.array(rgb(colour))).all(axis=-1).any()


def test_without_terrain_the_ground_is_plain():
    images = images_of()
    flat = replace(images, dem=np.full_like(images.dem, np.nan))
    known = np.isfinite(images.score)
    assert len(np.unique(np.asarray(hillshade(flat, 10.0))[known])) == 1


def test_the_page_says_what_is_missing_and_when_the_next_pass_comes(made, tmp_path):
    finished = made[0]
    used = finished.selection.every_view[0].after[0].instant
    lacking = {
        "relative_orbit": 46,
        "platform": "<b>S1</b>",
        "instant": used - timedelta(days=12),
        "flown": True,
    }
    account = PassAccount.model_validate(
        {
            "area": "a", "at": used, "expected": 3, "found": 2,
            "missing": [lacking, {**lacking, "instant": used}],
            "next": {
                "relative_orbit": 46, "direction": "descending", "platform": "sentinel-1a",
                "instant": used + timedelta(days=60), "window_s": 60, "repeat_days": 12, "rests_on": 8,
            },
            "waiting_for": "waiting for track 46",
        }
    )  # fmt: skip
    write_page(replace(finished, awaited=account, folder=tmp_path), layers_of(finished)[0])
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    shown = words(text)
    assert shown.count("Not in the archive") == 1 and "Waiting for track 46" in shown
    assert "not known to this map" not in shown and "<b>S1</b>" not in text
    assert shown.index("Waiting for track 46") < shown.index("Unreviewed."), (
        "the next pass is named at the top"
    )


def test_the_page_is_called_by_event_place_and_day_and_explains_its_status(made, tmp_path):
    event = made[0].event.model_copy(update={"magnitude": 6.6, "place": "<b>27 km</b> E of Tomakomai"})
    finished = replace(made[0], event=event, folder=tmp_path)
    write_page(finished, layers_of(made[0])[0])
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    head = "Landslides after M 6.6, <b>27 km</b> E of Tomakomai, 5 September 2018 UTC"
    shown = words(text)
    assert shown.count(head) == 2 and "<b>27 km" not in text, "title and heading"
    assert "by no person" in shown and all(
        finished.status_meanings[value] in shown
        for value, name in WORDS.items()
        if name in finished.record.statuses
    )


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "No ground is without data"), (0.0002, "below 0.1 % of the area")]
)
def test_a_share_without_data_is_named_as_it_is(made, tmp_path, share, words):
    finished, _ = made
    record = finished.record.model_copy(update={"no_data_share": share})
    shutil.copy(finished.folder / "validity.tif", tmp_path)
    other = replace(finished, record=record, folder=tmp_path)
    write_page(other, layers_of(other)[0])
    assert words in (tmp_path / PAGE).read_text()
