"""The simulated annotation compared with a real one: real annotation has every element at the same path."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from pipeline.areas.area import load_area
from pipeline.insar.look.orbit_geometry import Orbit, earth_fixed
from pipeline.sandbox.earth.parameters import SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.earth.scene import make_scene
from pipeline.sandbox.slc.frame import survey_of
from pipeline.sandbox.slc.geolocation_grid import geolocation_grid
from pipeline.sandbox.slc.instrument import AZIMUTH_BANDWIDTH_HZ, LINE_S, RANGE_SAMPLING_HZ, STEERING_DEG_S
from pipeline.sandbox.slc.orbit import every
from pipeline.sandbox.slc.safe_product.annotation_files import product
from pipeline.sandbox.slc.safe_product.calibration_files import calibration, noise
from pipeline.sandbox.slc.survey import SlcFlight, overflights


@pytest.fixture(scope="module")
def overflight() -> SlcFlight:
    area = load_area("sandbox").model_copy(update={"bbox": (142.0, 42.7, 142.02, 42.715)})
    track = TrackPlan(relative_orbit=46, direction="descending", before=1, after=1, incidence_deg=38.0)
    survey = survey_of(make_scene(area, WorldParameters(tracks=(track,), slc=SlcPlan())))
    assert survey is not None
    return overflights(survey, 1)[0]


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, Any]:
    folder = next((shared_data / "slc_annotation_pair_morocco").glob("*20230904*"), None)
    if folder is None:
        pytest.skip("real annotation not present next to the checkout")
    found = {
        "product": "annotation/s1a-iw2*.xml",
        "calibration": "annotation/calibration/calibration-s1a-iw2*.xml",
        "noise": "annotation/calibration/noise-s1a-iw2*.xml",
    }
    return {kind: etree.parse(str(next(folder.glob(name)))).getroot() for kind, name in found.items()}


def simulated(overflight: SlcFlight) -> dict[str, Any]:
    grid = geolocation_grid(overflight, 300.0)
    return {
        "product": product(overflight, grid, (8, 80_000), 60.0),
        "calibration": calibration(overflight),
        "noise": noise(overflight),
    }


def order(root: Any) -> dict[str, list[str]]:
    """Path of each element: the tags below it, each once, in order."""
    found: dict[str, list[str]] = {}
    tree = root.getroottree()
    for element in root.iter():
        path = "/".join(part.partition("[")[0] for part in tree.getelementpath(element).split("/"))
        tags = found.setdefault(path, [])
        tags.extend(tag for tag in dict.fromkeys(child.tag for child in element) if tag not in tags)
    return found


@pytest.mark.parametrize("kind", ["product", "calibration", "noise"])
def test_every_element_stands_where_it_stands_in_real_annotation(
    kind: str, overflight: SlcFlight, real: dict[str, Any]
) -> None:
    theirs = order(real[kind])
    for path, tags in order(simulated(overflight)[kind]).items():
        assert path in theirs
        places = [theirs[path].index(tag) for tag in tags]
        assert all(a < b for a, b in pairwise(places)), (path, tags)


def test_the_instruments_numbers_are_those_of_real_annotation(real: dict[str, Any]) -> None:
    root = real["product"]

    def stated(path: str) -> float:
        return float(root.findtext(path))

    assert stated("imageAnnotation/imageInformation/azimuthTimeInterval") == pytest.approx(LINE_S)
    assert stated("generalAnnotation/productInformation/rangeSamplingRate") == pytest.approx(
        RANGE_SAMPLING_HZ
    )
    assert stated("generalAnnotation/productInformation/azimuthSteeringRate") == pytest.approx(STEERING_DEG_S)
    processing = "imageAnnotation/processingInformation/swathProcParamsList/swathProcParams/azimuthProcessing"
    assert stated(f"{processing}/processingBandwidth") == AZIMUTH_BANDWIDTH_HZ


def test_the_fm_rate_is_the_one_that_real_annotation_has_for_its_orbit(
    overflight: SlcFlight, real: dict[str, Any]
) -> None:
    """Sentinel-1's own polynomial at the same slant range, from another orbit and latitude: within two per cent."""
    node = real["product"].find("generalAnnotation/azimuthFmRateList/azimuthFmRate")
    c0, c1, c2 = map(float, node.findtext("azimuthFmRatePolynomial").split())
    later = overflight.acquisition.frame.near_s - float(node.findtext("t0"))
    theirs = c0 + later * (c1 + later * c2)
    assert overflight.acquisition.fm_rate(0.0)[0] == pytest.approx(theirs, rel=0.02)


def test_the_geolocation_grid_is_what_the_stated_orbit_sees(overflight: SlcFlight) -> None:
    acquisition = overflight.acquisition
    start = acquisition.orbit.epoch
    vectors = acquisition.orbit.vectors(every(1.0, start - timedelta(seconds=5), 11))
    for point in geolocation_grid(overflight, 300.0)[::7]:
        place = earth_fixed(
            np.array([point.longitude_deg]), np.array([point.latitude_deg]), np.array([point.height_m])
        )
        t, range_m = (float(found[0]) for found in Orbit.of(vectors).zero_doppler(place))
        assert t - 5.0 == pytest.approx((point.time - start).total_seconds(), abs=1e-6)
        assert 2 * range_m / 299792458.0 == pytest.approx(point.delay_s, abs=1e-12)
        assert 30 < point.elevation_deg < point.incidence_deg < 45
