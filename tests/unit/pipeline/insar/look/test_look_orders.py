"""Which overflight a track's look geometry is made from, and the product that names it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.catalogue.assets import Asset
from pipeline.catalogue.catalogue import Catalogue, area_digest
from pipeline.catalogue.dem_items import LOOK_DEM_MARGIN_M
from pipeline.catalogue.passes import Pass, group_passes
from pipeline.catalogue.slc_passes import slc_passes
from pipeline.insar.look.look_orders import look_orders, product_name
from tests.unit.made_slc import repeats
from tests.unit.pipeline.catalogue.test_passes import area, item

PRODUCT = "S1A_IW_GRDH_1SDV_20180824T203100_20180824T203125_023393_029117_0A1B"
STORE = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/GRD/2018/8/24/IW/DV"


def flight(day: str, orbit: int, href: str, track: int = 46) -> Pass:
    found = item(f"{day} 20:31:00+00:00", **{"sat:absolute_orbit": orbit, "sat:relative_orbit": track})
    found["assets"] = {"vv": {"href": href}}
    (one,) = group_passes([found], area()).passes
    return one


def named(day: str, orbit: int, track: int = 46) -> Pass:
    scene = PRODUCT.replace("20180824", day.replace("-", "")).replace("023393", f"{orbit:06d}")
    return flight(day, orbit, f"{STORE}/{scene}/measurement/iw-vv.rtc.tiff", track)


def test_the_name_is_that_of_the_folder_which_alone_is_whole() -> None:
    assert product_name(named("2018-08-24", 23393)) == PRODUCT
    other = named("2018-08-24", 23393).model_copy(update={"platform": "sentinel-1b"})
    assert product_name(other) is None, "of another satellite"


@pytest.mark.parametrize(
    "href",
    [
        "/data/rtc/vv.tif",
        f"/data/{PRODUCT[:-5]}_rtc/vv.tif",
        f"/data/{PRODUCT}_old/vv.tif",
        "/data/OPERA_L2_RTC-S1_T051-107710-IW2_20240419T045849Z_VV.tif",
    ],
)
def test_files_of_another_name_name_no_product(href: str) -> None:
    assert product_name(flight("2018-08-24", 23393, href)) is None


def test_a_name_may_be_the_items_own() -> None:
    one = flight("2018-08-24", 23393, "/data/vv.tif")
    piece = one.slices[0].model_copy(update={"id": f"{PRODUCT}_rtc"})
    assert product_name(one.model_copy(update={"slices": (piece,)})) == PRODUCT


def test_one_order_a_track_of_its_earliest_pass() -> None:
    flights = [named("2018-09-05", 23568), named("2018-08-24", 23393), named("2018-08-26", 23415, track=68)]
    found = look_orders(flights)
    assert [(o.relative_orbit, o.absolute_orbit) for o in found.orders] == [(46, 23393), (68, 23415)]
    assert found == look_orders(flights[::-1])
    assert found.nameless == ()
    first = found.orders[0]
    assert first.scene == PRODUCT
    assert first.orbit_span == (first.instant, first.instant + timedelta(seconds=90))
    assert look_orders([]) == ((), ())


def single_look(count: int):
    where = area(interferometry={})
    found = Catalogue(
        area=where.name, area_digest=area_digest(where), searched_at="2018-10-02T00:00:00Z",
        endpoint="https://stac.example/v1", rtc_items=(), dem_items=(), slc=repeats(count),
    )  # fmt: skip
    return slc_passes(found, where).passes


def test_a_granule_names_the_same_overflight_and_changes_nothing_else() -> None:
    (granules, _) = single_look(2)
    same = named("2018-08-12", granules.absolute_orbit)
    alone, both = look_orders([same]).orders[0], look_orders([same], single_look(2)).orders[0]
    assert both.scene == granules.granules[0].name != alone.scene
    assert both.model_copy(update={"scene": alone.scene}) == alone
    later = named("2018-09-05", 23568)
    assert look_orders([later], single_look(2)) == look_orders([later]), "another overflight"


def test_granules_serve_tracks_of_which_no_pass_is_named() -> None:
    bare = flight("2018-08-01", 23043, "/data/vv.tif")
    other = flight("2018-08-03", 23070, "/data/vv.tif", track=68)
    found = look_orders([bare, other], single_look(2))
    assert [(o.relative_orbit, o.absolute_orbit) for o in found.orders] == [(46, 23200)]
    assert found.nameless == (68,)
    assert [o.relative_orbit for o in look_orders([], single_look(1)).orders] == [46], (
        "a track of pairs alone"
    )
    nothing = Asset(href="")
    empty = bare.slices[0].model_copy(update={"assets": {"vv": nothing}})
    assert look_orders([bare.model_copy(update={"slices": (empty,)})]).nameless == (46,)


def test_elevation_is_searched_as_far_as_it_is_looked_at() -> None:
    (order,) = look_orders([named("2018-08-24", 23393)]).orders
    assert order.margin_m < LOOK_DEM_MARGIN_M
