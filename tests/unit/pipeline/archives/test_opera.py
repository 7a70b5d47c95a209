"""OPERA RTC-S1 at ASF: what CMR says of a burst becomes an item, and what it says wrongly leaves the burst out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.archives.archive import Query, Signed
from pipeline.archives.asf import Asf
from pipeline.archives.opera import OperaRtc, nominal_epsg, stac_item
from pipeline.archives.registry import archive_of, archives_read, serving
from pipeline.areas.backscatter_sources import OPERA_RTC
from pipeline.catalogue.granules import kept
from pipeline.catalogue.items import read_item
from pipeline.catalogue.passes import group_passes
from pipeline.errors import ArchiveError
from tests.unit.loopback import Loopback, brisk_settings, standing_for_all_hosts
from tests.unit.made_opera import umm_of
from tests.unit.made_slc import Cmr, granule_item
from tests.unit.pipeline.catalogue.test_passes import area

Item = dict[str, Any]


def kept_of(item: Item) -> Item:
    return kept(item["meta"], item["umm"])


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as made, brisk_settings(retries=2), standing_for_all_hosts(made):
        yield made


def test_the_collection_is_searched_at_asf_and_its_files_are_asfs() -> None:
    assert isinstance(serving(OPERA_RTC), OperaRtc)
    for host in ("datapool.asf.alaska.edu", "cumulus.asf.alaska.edu", "cumulus.asf.earthdatacloud.nasa.gov"):
        owner = archive_of(f"https://{host}/RTC/OPERA-S1/one.tif")
        assert type(owner) is Asf
    assert archive_of("https://asf.earthdatacloud.nasa.gov.elsewhere.example/one.tif").sign("x") == Signed(
        "x"
    )
    assert type(archive_of("https://asf.earthdatacloud.nasa.gov.elsewhere.example/one.tif")) is not Asf
    own = area().of_source(OPERA_RTC)
    assert [one.name for one in archives_read(own)] == ["asf", "planetary-computer"]


def test_a_search_asks_for_the_collection_and_gives_items(server: Loopback) -> None:
    answers = Cmr([umm_of(), umm_of("2018-09-05T20:31:03Z", burst="T046-098902-IW1"), granule_item()])
    server.rules.append(answers)
    here = area()
    query = Query(here.footprint_geojson, here.start, here.end, (46,))
    found = OperaRtc().search(OPERA_RTC, query)
    assert [item["properties"]["opera:burst_id"] for item in found] == ["T046-098901-IW1", "T046-098902-IW1"]
    (asked,) = answers.asked
    assert ("shortName", "OPERA_L2_RTC-S1_V1") in asked and ("attribute[]", "int,PATH_NUMBER,46") in asked


def test_a_burst_says_what_cmr_says_of_it() -> None:
    read = read_item(stac_item(kept_of(umm_of())), OPERA_RTC)
    assert read.overflight.pass_id == "sentinel-1a_023568_425458"  # as the Planetary Computer has it
    assert (read.relative_orbit, read.direction, read.source) == (46, "descending", OPERA_RTC)
    assert read.slice.burst == "T046-098901-IW1" and read.slice.epsg == 32654
    assert set(read.slice.assets) == {"vv", "vh"} and read.slice.mask is not None
    assert read.slice.mask.href.endswith("_mask.tif")
    assert read.processed[0].startswith("2018-09-06T03:31:00")


def test_a_recorded_burst_says_what_asf_search_read_in_it(shared_data: Path) -> None:
    path = shared_data / "asf_search_responses/tests/yml_tests/Resources/OPERA_Products.yml"
    if not path.exists():
        pytest.skip("recorded results of OPERA are not present beside the checkout")
    recorded = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    rtc = [one for one in recorded if one["properties"]["processingLevel"] == "RTC"]
    assert rtc
    for one in rtc:
        stated, read = one["properties"], read_item(stac_item(kept(one["meta"], one["umm"])), OPERA_RTC)
        assert read.slice.id == stated["sceneName"]
        assert read.slice.burst is not None
        assert read.slice.burst.replace("-", "_") == stated["operaBurstID"]
        assert (read.overflight.absolute_orbit, read.relative_orbit) == (
            stated["orbit"],
            stated["pathNumber"],
        )
        assert read.overflight.datatake == str(int("063699", 16))
        assert {asset.href for asset in read.slice.assets.values()} <= {
            stated["url"],
            *stated["additionalUrls"],
        }
        assert read.slice.mask is not None and read.slice.mask.href in stated["additionalUrls"]
        assert read.slice.epsg == 32606
    # the other products of the collection's family are no backscatter of a pass
    for one in recorded:
        if one not in rtc:
            with pytest.raises(ArchiveError):
                read_item(stac_item(kept(one["meta"], one["umm"])), OPERA_RTC)


def without(name: str) -> Callable[[Item], None]:
    return lambda umm: umm.pop(name)


def with_attribute(name: str, value: Any) -> Callable[[Item], None]:
    def change(umm: Item) -> None:
        for attribute in umm["AdditionalAttributes"]:
            if attribute["Name"] == name:
                attribute["Values"] = [value]

    return change


def with_links(change: Callable[[str], str]) -> Callable[[Item], None]:
    def changed(umm: Item) -> None:
        umm["RelatedUrls"] = [{**link, "URL": change(link["URL"])} for link in umm["RelatedUrls"]]

    return changed


WRONG: dict[str, Callable[[Item], None]] = {
    "no SLC product": without("InputGranules"),
    "SLC products of two datatakes": lambda umm: umm["InputGranules"].append(
        umm["InputGranules"][0].replace("067DF2", "067DF3")
    ),
    "an SLC product that is a number": lambda umm: umm.update(InputGranules=[7]),
    "another orbit than the SLC product": lambda umm: umm.update(
        OrbitCalculatedSpatialDomains=[{"OrbitNumber": 1}]
    ),
    "another track than the name": with_attribute("PATH_NUMBER", "47"),
    "a track of digits without end": with_attribute("PATH_NUMBER", "9" * 5000),
    "no direction": with_attribute("ASCENDING_DESCENDING", "SIDEWAYS"),
    "another satellite than the name": lambda umm: umm.update(Platforms=[{"ShortName": "Sentinel-1B"}]),
    "no platform": lambda umm: umm.update(Platforms="Sentinel-1A"),
    "no time": without("TemporalExtent"),
    "a time that is a list": lambda umm: umm.update(TemporalExtent=[1]),
    "no outline": lambda umm: umm.update(SpatialExtent={}),
    "an outline of one point": lambda umm: umm["SpatialExtent"]["HorizontalSpatialDomain"]["Geometry"].update(
        GPolygons=[{"Boundary": {"Points": [{"Longitude": 1, "Latitude": 1}]}}]
    ),
    "a name with a path": lambda umm: umm.update(GranuleUR="../../" + umm["GranuleUR"]),
    "a name of another product": lambda umm: umm.update(GranuleUR=umm["GranuleUR"].replace("RTC", "CSLC")),
    "no links": without("RelatedUrls"),
    "links without a mask": with_links(lambda url: url.replace("_mask", "_number")),
    "links without encryption": with_links(lambda url: url.replace("https://", "http://")),
    "links to files of another burst": with_links(lambda url: url.replace("098901", "098902")),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_burst_with_wrong_metadata_is_left_out_and_named(what: str) -> None:
    wrong = copy.deepcopy(umm_of("2018-09-05T20:31:03Z", burst="T046-098901-IW2"))
    WRONG[what](wrong["umm"])
    items = [stac_item(kept_of(one)) for one in (umm_of(), wrong)]
    found = group_passes(items, area().of_source(OPERA_RTC))
    (one,) = found.passes
    assert [piece.burst for piece in one.slices] == ["T046-098901-IW1"]
    assert len(found.left_out) == 1


def test_the_mark_of_simulated_data_is_kept() -> None:
    item = umm_of()
    item["umm"]["AdditionalAttributes"].append({"Name": "SIMULATED", "Values": ["true"]})
    assert stac_item(kept_of(item))["properties"]["slidecube:simulated"] is True
    assert "slidecube:simulated" not in stac_item(kept_of(umm_of()))["properties"]


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [
        (142, 42, 32654),
        (142, -42, 32754),
        (179.9, 10, 32660),
        (-180, 10, 32601),
        (10, 80, 3413),
        (10, -70, 3031),
    ],
)
def test_the_nominal_system_is_that_of_the_centre(longitude: float, latitude: float, epsg: int) -> None:
    west, east = max(-180, longitude - 0.05), min(180, longitude + 0.05)
    ring = [(west, latitude - 0.1), (east, latitude - 0.1), (east, latitude + 0.1), (west, latitude - 0.1)]
    assert nominal_epsg({"type": "Polygon", "coordinates": [ring]}) == epsg
