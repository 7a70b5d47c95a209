"""The sources of an area: what it may name, the cubes that follow, and files of earlier releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.areas.backscatter_sources import OPERA_RTC, PLANETARY_RTC
from pipeline.catalogue.catalogue import area_digest
from pipeline.errors import AreaError
from pipeline.settings import settings
from tests.unit.pipeline.catalogue.test_passes import area


def test_an_area_has_a_cube_of_each_source_under_a_name_of_its_own() -> None:
    two = area(sources=[PLANETARY_RTC, OPERA_RTC], interferometry={})
    own, beside = two.cubes()
    assert own == two and own.resolution_m == 10
    assert (beside.name, beside.rtc_collection, beside.resolution_m) == ("here-opera-rtc-s1", OPERA_RTC, 30)
    assert (beside.border_erosion_px, beside.interferometry) == (0, None)
    assert area_digest(beside) != area_digest(own)
    assert two.cubes(OPERA_RTC) == (beside,)
    assert two.cubes(PLANETARY_RTC) == (two,)
    assert area().cubes() == (area(),)
    assert area().of_source(OPERA_RTC).bbox == area().bbox


def test_the_first_source_is_the_areas_own_and_gives_the_pixel() -> None:
    alone = area(sources=[OPERA_RTC])
    assert (alone.rtc_collection, alone.resolution_m, alone.collections) == (OPERA_RTC, 30, (OPERA_RTC,))
    mixed = area(sources=[PLANETARY_RTC, OPERA_RTC], mixed_sources=True)
    assert (mixed.resolution_m, mixed.collections) == (30, (PLANETARY_RTC, OPERA_RTC))
    assert mixed.cubes() == (mixed,)
    # the digest of an area that names no source is what it was
    assert area_digest(area(sources=[PLANETARY_RTC])) == area_digest(area())
    assert area_digest(mixed) != area_digest(area(resolution_m=30))


def test_papers_of_earlier_files_are_references() -> None:
    old = area(sources=["Boehm et al. 2022, arXiv:2211.02869", "https://doi.org/10.5281/zenodo.7248056"])
    assert old.sources == () and len(old.references) == 2
    assert old.rtc_collection == PLANETARY_RTC
    both = area(sources=[OPERA_RTC, "Boehm et al. 2022"], references=["a page"])
    assert both.sources == (OPERA_RTC,) and both.references == ("Boehm et al. 2022", "a page")
    assert AreaOfInterest.model_validate(both.model_dump(mode="json")) == both


@pytest.mark.parametrize(
    "fields",
    [
        {"sources": ["opera-rtc"]},
        {"sources": [OPERA_RTC, OPERA_RTC]},
        {"sources": [OPERA_RTC], "rtc_collection": PLANETARY_RTC},
        {"sources": [OPERA_RTC], "mixed_sources": True},
        {"mixed_sources": True},
        {"sources": [OPERA_RTC], "resolution_m": 10},
        {"sources": [PLANETARY_RTC, OPERA_RTC], "mixed_sources": True, "resolution_m": 10},
        {"sources": [7]},
        {"sources": {"a": 1}},
        {"sources": OPERA_RTC},
    ],
)
def test_sources_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        area(**fields)


def test_a_source_that_is_unknown_or_a_name_that_is_too_long_is_named() -> None:
    with pytest.raises(AreaError):
        area().of_source("opera")
    with pytest.raises(AreaError):
        area(name="a" * 60).of_source(OPERA_RTC)


def test_the_cube_of_a_source_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = area().model_dump(mode="json", exclude_defaults=True)
    (tmp_path / "here.yaml").write_text(yaml.safe_dump(fields))
    monkeypatch.setenv("SLIDECUBE_AOI_DIR", str(tmp_path))
    settings.cache_clear()
    try:
        assert load_area("here-opera-rtc-s1") == load_area("here").of_source(OPERA_RTC)
        with pytest.raises(AreaError):
            load_area("nowhere-opera-rtc-s1")
    finally:
        settings.cache_clear()
