"""Bursts as the archive serves them are told apart by name and annotation, and handed to burst2safe."""

from __future__ import annotations

import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.files.annotation_xml import read_annotation
from pipeline.insar.isce2.topsapp.files.burst_safe import position_of, safe_of_bursts
from pipeline.insar.job import read_manifest
from tests.insar.jobs import make_job

NAME = "S1_097421_IW1_20180824T083003_VV_7C85-BURST"


def _document(*, swath: str = "IW1", polarisation: str = "VV") -> str:
    bursts = "".join(
        f"<burst><azimuthTime>2018-08-24T08:30:{seconds:09.6f}</azimuthTime></burst>"
        for seconds in (0.5, 3.26, 6.02)
    )
    return (
        "<burst><metadata><product><content><adsHeader><missionId>S1A</missionId>"
        f"<polarisation>{polarisation}</polarisation><swath>{swath}</swath>"
        "<startTime>2018-08-24T08:30:00.100000</startTime><stopTime>2018-08-24T08:30:27.100000</stopTime>"
        "<absoluteOrbitNumber>23000</absoluteOrbitNumber><missionDataTakeId>163584</missionDataTakeId></adsHeader>"
        f"<swathTiming><burstList>{bursts}</burstList></swathTiming></content></product></metadata></burst>"
    )


def test_a_burst_is_found_by_its_instant() -> None:
    place = position_of(Path(f"{NAME}.tiff"), ET.fromstring(_document()), "VV")
    assert (place.swath, place.polarisation, place.index) == ("IW1", "VV", 1)
    assert place.granule == "S1A_IW_SLC__1SSV_20180824T083000_20180824T083027_023000_027F00_7C85"


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("S1_097421_IW1_20180824T083013_VV_7C85-BURST", _document()),
        ("S1_097421_IW2_20180824T083003_VV_7C85-BURST", _document()),
        (NAME, _document(polarisation="VH")),
        ("3", _document()),
    ],
)
def test_a_burst_that_is_not_described_is_refused(name: str, document: str) -> None:
    with pytest.raises(InterferometryError) as caught:
        position_of(Path(f"{name}.tiff"), ET.fromstring(document), "VV")
    assert caught.value.code == "bursts-unusable"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What burst2safe's local2safe is called with; its signature is that of burst2safe 2.0.2."""
    made: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def local2safe(
        slc_dict: dict[str, Any],
        all_anns: bool = False,
        keep_files: bool = False,
        work_dir: Path | None = None,
    ) -> Path:
        made.append((slc_dict, {"all_anns": all_anns, "keep_files": keep_files, "work_dir": work_dir}))
        if "bad" in str(work_dir):
            raise ValueError("All bursts must have consecutive burst IDs.")
        assert work_dir is not None
        return work_dir / "made.SAFE"

    module = types.ModuleType("burst2safe.local2safe")
    module.local2safe = local2safe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "burst2safe", types.ModuleType("burst2safe"))
    monkeypatch.setitem(sys.modules, "burst2safe.local2safe", module)
    return made


def _burst(folder: Path) -> Path:
    tiff = folder / f"{NAME}.tiff"
    tiff.write_bytes(b"II*\0")
    tiff.with_suffix(".xml").write_text(_document(), encoding="utf-8")
    return tiff


def test_burst2safe_gets_the_local_files_and_leaves_them(tmp_path: Path, calls: Any) -> None:
    manifest = read_manifest(make_job(tmp_path / "job"))
    tiff = _burst(tmp_path)
    safe = safe_of_bursts((tiff,), "reference", manifest, tmp_path / "work", tmp_path / "log")
    assert safe == tmp_path / "work/reference_safe/made.SAFE"
    tree, options = calls[0]
    granule = "S1A_IW_SLC__1SSV_20180824T083000_20180824T083027_023000_027F00_7C85"
    assert tree == {
        granule: {"IW1": {"VV": {"1": {"DATA": str(tiff), "METADATA": str(tiff.with_suffix(".xml"))}}}}
    }
    assert options["keep_files"] is True


def test_what_burst2safe_refuses_is_named(tmp_path: Path, calls: Any) -> None:
    manifest = read_manifest(make_job(tmp_path / "job"))
    tiff = _burst(tmp_path)
    with pytest.raises(InterferometryError) as caught:
        safe_of_bursts((tiff,), "bad", manifest, tmp_path / "work", tmp_path / "log")
    assert caught.value.code == "bursts-unusable"
    tiff.with_suffix(".xml").unlink()
    with pytest.raises(InterferometryError) as caught:
        safe_of_bursts((tiff,), "reference", manifest, tmp_path / "work", tmp_path / "log")
    assert caught.value.code == "inputs-missing"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("subset", ['<!ENTITY e SYSTEM "file:///etc/hostname">', '<!ENTITY e "x">', ""])
def test_a_document_type_is_refused_in_any_encoding(tmp_path: Path, encoding: str, subset: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE product [{subset}]><product>x</product>'
    path = tmp_path / "annotation.xml"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(InterferometryError) as caught:
        read_annotation(path)
    assert caught.value.code == "annotation-unreadable"
    path.write_bytes(text.replace(f"<!DOCTYPE product [{subset}]>", "<!-- <!DOCTYPE -->").encode(encoding))
    assert read_annotation(path).tag == "product"
