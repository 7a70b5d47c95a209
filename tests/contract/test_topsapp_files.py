"""The runner's files compared with those of real topsApp runs (ASFHyP3/hyp3-isce2) and real SAFE folders."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pipeline.insar.isce2.topsapp.configuration import Configuration, write_configuration
from pipeline.insar.isce2.topsapp.files.acquisitions import burst_count, footprint
from pipeline.insar.isce2.topsapp.run_report import common_bursts, esd_median_px, isce_version, kept_bursts

# of the notes of a run, and in neither recorded file
UNRECORDED = {"Sensor name"}


@pytest.fixture
def recorded(shared_data: Path) -> Path:
    folder = shared_data / "slc_safe_skeletons/tests/data/packaging"
    if not folder.is_dir():
        pytest.skip("recorded topsApp runs not present next to the checkout")
    return folder


def _keys(path: Path) -> dict[str, set[str]]:
    insar = ET.parse(path).getroot().find("component[@name='topsinsar']")
    assert insar is not None
    keys = {"": {str(item.get("name")) for item in insar.findall("property")}}
    for component in insar.findall("component"):
        keys[str(component.get("name"))] = {str(item.get("name")) for item in component.findall("property")}
    return keys


@pytest.mark.parametrize("run", ["slc", "single_burst"])
def test_every_key_of_topsapp_xml_is_one_of_a_real_run(recorded: Path, tmp_path: Path, run: str) -> None:
    configuration = Configuration(
        reference=("a.SAFE",),
        secondary=("b.SAFE", "c.SAFE"),
        orbits="orbits",
        polarisation="vv",
        swaths=(1, 2),
        azimuth_looks=1,
        range_looks=5,
        dem="dem",
        geocoding_dem="dem20",
        esd=True,
        esd_coherence=0.85,
        region=(141.0, 42.0, 142.0, 43.0) if run == "slc" else None,
    )
    path = write_configuration(configuration, tmp_path)
    real, ours = _keys(recorded / run / "topsApp.xml"), _keys(path)
    assert set(ours) == set(real) == {"", "reference", "secondary"}
    assert ours[""] - real[""] == UNRECORDED
    # no key is set twice, and the keys left to their defaults are known
    assert real[""] - ours[""] == {"filter strength", "unwrapper name", "apply ionosphere correction"}
    for side in ("reference", "secondary"):
        assert real[side] - ours[side] == {"auxiliary data directory"} and not ours[side] - real[side]
    text = path.read_text("utf-8")
    assert "['b.SAFE', 'c.SAFE']" in text and '<property name="safe">a.SAFE<' in text
    assert ("[42.0, 43.0, 141.0, 142.0]" in text) == (run == "slc")  # south, north, west, east


def test_report_of_a_real_run_is_read(recorded: Path) -> None:
    slc, single = recorded / "slc", recorded / "single_burst"
    assert isce_version(slc) == "2.6.3"
    assert kept_bursts(slc, "reference") == 27 and kept_bursts(slc, "secondary") == 27
    assert kept_bursts(single, "reference") == 1
    assert common_bursts(slc) == {1: 9, 2: 9, 3: 9} and common_bursts(single) == {3: 1}
    assert esd_median_px(slc) is None  # both ran without


def test_real_safe_folders_tell_bursts_and_footprint(recorded: Path) -> None:
    safe = next((recorded / "slc").glob("*.SAFE"))
    assert burst_count(safe, 1, "vv") == 9 and burst_count(safe, 2, "vv") == 0
    box = footprint(safe, (1,), "vv")
    assert box is not None
    west, south, east, north = box
    # the region of the recorded topsApp.xml is that of all three swaths
    assert -130.2 < west < east < -125.8 and 50.9 < south < north < 53.2
    bursts = sorted((recorded / "single_burst").glob("*.SAFE"))
    assert [burst_count(one, 3, "vv") for one in bursts] == [1, 1]
