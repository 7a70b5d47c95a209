"""Bursts as slices of a pass: which count, and passes of several sources in one catalogue."""

from __future__ import annotations

from typing import Any

from pipeline.archives.opera import stac_item
from pipeline.areas.backscatter_sources import OPERA_RTC, PLANETARY_RTC
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.catalogue import Catalogue, area_digest, passes_of
from pipeline.catalogue.granules import kept
from pipeline.catalogue.passes import group_passes
from tests.unit.made_opera import umm_of
from tests.unit.pipeline.catalogue.test_passes import area, item

Item = dict[str, Any]
HERE = area().of_source(OPERA_RTC)
MIXED = area(sources=[PLANETARY_RTC, OPERA_RTC], mixed_sources=True)


def burst(start: str = "2018-09-05T20:31:00Z", **options: Any) -> Item:
    found = umm_of(start, **options)
    return stac_item(kept(found["meta"], found["umm"]))


def slice_of(start: str, orbit: int) -> Item:
    return item(start, **{"sat:absolute_orbit": orbit}) | {"collection": PLANETARY_RTC}


def test_bursts_that_begin_in_one_second_are_slices_of_one_pass() -> None:
    items = [burst(burst=f"T046-098901-IW{swath}") for swath in (1, 2, 3)]
    found = group_passes(items, HERE)
    (one,) = found.passes
    assert len(one.slices) == 3 and one.source == OPERA_RTC
    assert not found.left_out


def test_of_two_processings_of_a_burst_the_later_one_counts_whatever_its_start() -> None:
    # a new orbit file moves the start of a burst by some seconds at most
    early, late = burst(hours=7), burst("2018-09-05T20:31:02Z", hours=900)
    for order in ((early, late), (late, early)):
        (one,) = group_passes(order, HERE).passes
        assert [piece.id for piece in one.slices] == [late["id"]]


def test_the_sizes_and_fingerprints_of_a_mask_are_those_that_its_server_stated() -> None:
    made = burst()
    hrefs = [file["href"] for file in made["assets"].values()]
    probes = {href: Asset(href=href, size_bytes=7, etag=f"tag-{href[-8:]}") for href in hrefs}
    (one,) = group_passes([made], HERE, probes).passes
    mask = one.slices[0].mask
    assert mask is not None and mask.etag == "tag-mask.tif"
    assert one.size_bytes == 21


def catalogue_of(items: list[Item], probes: list[str]) -> Catalogue:
    return Catalogue(
        area=HERE.name,
        area_digest=area_digest(HERE),
        searched_at="2018-10-02T00:00:00Z",
        endpoint="https://cmr.earthdata.nasa.gov",
        rtc_items=tuple(items),
        dem_items=(),
        probes={href: Asset(href=href, size_bytes=1, etag="e") for href in probes},
    )


def test_a_burst_whose_mask_no_server_has_is_left_out() -> None:
    whole, lacking = burst(), burst(burst="T046-098901-IW2")
    hrefs = [file["href"] for one in (whole, lacking) for file in one["assets"].values()]
    without = [href for href in hrefs if not ("IW2" in href and "mask" in href)]
    assert len(without) == len(hrefs) - 1
    (one,) = passes_of(catalogue_of([whole, lacking], without), HERE).passes
    assert [piece.burst for piece in one.slices] == ["T046-098901-IW1"]


def test_where_sources_are_mixed_a_pass_is_of_the_first_that_has_it() -> None:
    items = [
        slice_of("2018-09-05 20:31:00+00:00", 23568),
        burst(),
        burst("2018-09-17T20:31:00Z", orbit=23743, datatake=0x067E00),
    ]
    found = group_passes(items, MIXED)
    assert [one.source for one in found.passes] == [PLANETARY_RTC, OPERA_RTC]
    assert [len(one.slices) for one in found.passes] == [1, 1]
    swapped = area(sources=[OPERA_RTC, PLANETARY_RTC], mixed_sources=True)
    assert [one.source for one in group_passes(items, swapped).passes] == [OPERA_RTC, OPERA_RTC]


def test_a_source_that_the_area_does_not_name_is_left_out() -> None:
    found = group_passes([slice_of("2018-09-05 20:31:00+00:00", 23568), burst()], area())
    assert [one.source for one in found.passes] == [PLANETARY_RTC]
    assert len(found.left_out) == 1
