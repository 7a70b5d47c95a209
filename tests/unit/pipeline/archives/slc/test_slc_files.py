"""Bursts and granules on the disk: how they are checked, and when they are fetched again."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.io import MemoryFile

from pipeline.archives.earthdata import Credentials, Earthdata
from pipeline.archives.slc.burst_files import check_burst_tiff, read_burst_annotation, read_xml
from pipeline.archives.slc.slc_files import fetch_slc
from pipeline.catalogue.slc import Burst, Granule, SlcPass
from pipeline.errors import ArchiveError, SourceDataError
from tests.unit.loopback import Loopback, Reply, brisk_settings, logged_in, standing_for_all_hosts

LINES, SAMPLES = 60, 40
VALID = slice(5, 55)
START = datetime(2018, 8, 24, 20, 42, 1, tzinfo=UTC)
GRANULE = "S1A_IW_SLC__1SDV_20180824T204200_20180824T204227_023385_028B5B_0001"
BOX = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
HOST = "sentinel1-burst.asf.alaska.edu"
LOGIN = Earthdata(Credentials())


def burst(index: int = 1) -> Burst:
    start = START + timedelta(seconds=2.76 * index)
    return Burst(
        id=f"S1_09906{index}_IW2_{start:%Y%m%dT%H%M%S}_VV_0001-BURST",
        full_id=f"046_09906{index}_IW2",
        granule=GRANULE,
        swath="IW2",
        polarisation="vv",
        index=index,
        start=start,
        geometry=BOX,
        tiff_url=f"https://{HOST}/{GRANULE}/IW2/VV/{index}.tiff",
        xml_url=f"https://{HOST}/{GRANULE}/IW2/VV/{index}.xml",
    )


def annotation_xml(
    swath: str = "IW2",
    polarisation: str = "VV",
    lines: int = LINES,
    samples: int = SAMPLES,
    valid: slice = VALID,
) -> str:
    """The annotation of a swath with two bursts, as ASF puts it into one document with its neighbour's."""
    inside = range(lines)[valid]
    first = " ".join("2" if n in inside else "-1" for n in range(lines))
    last = " ".join(str(samples - 3) if n in inside else "-1" for n in range(lines))
    bursts = "".join(
        f"<burst><azimuthTime>{(START + timedelta(seconds=2.76 * i)).replace(tzinfo=None).isoformat()}</azimuthTime>"
        f"<firstValidSample count='{lines}'>{first}</firstValidSample>"
        f"<lastValidSample count='{lines}'>{last}</lastValidSample></burst>"
        for i in range(2)
    )
    return (
        f"<product><swath>{swath}</swath><polarisation>{polarisation}</polarisation><content>"
        f"<adsHeader><polarisation>{polarisation}</polarisation><swath>{swath}</swath></adsHeader>"
        f"<swathTiming><linesPerBurst>{lines}</linesPerBurst><samplesPerBurst>{samples}</samplesPerBurst>"
        f"<burstList count='2'>{bursts}</burstList></swathTiming></content></product>"
    )


def document(*products: str, prologue: str = "") -> bytes:
    return f"{prologue}<burst><metadata>{''.join(products)}</metadata><manifest/></burst>".encode()


XML = document(annotation_xml("IW1", lines=50), annotation_xml(), annotation_xml("IW2", "VH", lines=70))


def tiff(
    lines: int = LINES, samples: int = SAMPLES, valid: slice = VALID, dtype: str = "complex_int16"
) -> bytes:
    values = np.zeros((lines, samples), np.complex64)
    rng = np.random.default_rng(1)
    values[valid] = rng.integers(1, 99, values[valid].shape) + 1j
    points = [
        GroundControlPoint(0, 0, 140, 42),
        GroundControlPoint(9, 9, 141, 43),
        GroundControlPoint(9, 0, 140, 43),
    ]
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": lines,
        "width": samples,
        "count": 1,
        "dtype": dtype,
    }
    with MemoryFile() as memory:
        with memory.open(**profile, gcps=points, crs="EPSG:4326") as image:
            image.write(values.real if dtype == "int16" else values, 1)
        return bytes(memory.read())


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=1), logged_in(LOGIN):
        yield


@pytest.fixture
def checked(tmp_path: Path) -> Any:
    """Checks some bytes as the TIFF of the burst."""
    (tmp_path / "a.xml").write_bytes(XML)
    annotation = read_burst_annotation(tmp_path / "a.xml", burst())

    def check(data: bytes) -> None:
        (tmp_path / "a.tiff").write_bytes(data)
        check_burst_tiff(tmp_path / "a.tiff", annotation)

    return check


def test_the_right_swath_is_read_out_of_many(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(XML)
    read = read_burst_annotation(tmp_path / "a.xml", burst())
    assert (read.lines, read.samples, read.valid_lines) == (LINES, SAMPLES, (5, 54))
    assert read.valid_samples[10] == (2, SAMPLES - 3)
    assert read.valid_samples[0] == (-1, -1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"index": 2}, "lists 2 bursts"),
        ({"start": START}, "describes a burst of"),
        ({"swath": "IW3"}, "no annotation of IW3"),
        ({"polarisation": "hh"}, "no annotation"),
    ],
)
def test_the_annotation_of_another_burst_is_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    (tmp_path / "a.xml").write_bytes(XML)
    with pytest.raises(SourceDataError, match=why):
        read_burst_annotation(tmp_path / "a.xml", burst().model_copy(update=changes))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<burst>",
        b"{}",
        document(annotation_xml(), prologue='<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        document(annotation_xml().replace("IW2", "&x;"), prologue='<!DOCTYPE b [<!ENTITY x "IW2">]>'),
        document("<product/>"),
        document(annotation_xml(lines=10**4)),
        document(annotation_xml(valid=slice(0, 0))),
        document(annotation_xml().replace("<linesPerBurst>60", "<linesPerBurst>sixty")),
        document(annotation_xml().replace("<linesPerBurst>60", "<linesPerBurst>61")),
    ],
    ids=["empty", "cut", "json", "file", "entity", "bare", "huge", "invalid", "words", "count"],
)
def test_hostile_annotation_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(text)
    with pytest.raises(SourceDataError, match=r"a\.xml"):
        read_burst_annotation(tmp_path / "a.xml", burst())


def test_a_billion_laughs_are_not_laughed(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    (tmp_path / "a.xml").write_text(f"<!DOCTYPE b [{laughs}]><burst>&l11;</burst>")
    with pytest.raises(SourceDataError):
        read_xml(tmp_path / "a.xml")


def test_real_annotation_is_read(shared_data: Path) -> None:
    path = next((shared_data / "slc_annotation_pair_morocco").glob("*20230904*/annotation/*iw1*.xml"))
    times = [datetime.fromisoformat(n.text).replace(tzinfo=UTC) for n in read_xml(path).iter("azimuthTime")]
    real = burst().model_copy(update={"swath": "IW1", "index": 0})
    product = read_xml(path)
    first = product.findtext("swathTiming/burstList/burst/azimuthTime")
    real = real.model_copy(update={"start": datetime.fromisoformat(first).replace(tzinfo=UTC)})
    read = read_burst_annotation(path, real)
    assert 1400 < read.lines < 1600
    assert 18_000 < read.samples < 28_000
    assert 0 < read.valid_lines[0] < 100
    assert read.start in times


def test_a_good_burst_passes(checked: Any) -> None:
    checked(tiff())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff(lines=LINES - 1), "lines"),
        (tiff(samples=SAMPLES + 1), "samples"),
        (tiff(dtype="int16"), "complex_int16"),
        (tiff(dtype="complex64"), "complex_int16"),
        (tiff(valid=slice(0, 0)), "50 of its 50"),
        (tiff(valid=slice(5, 50)), "zero in 5 "),
        (tiff()[:-2000], r"a\.tiff"),
        (b'{"message": "no such burst"}', "is no TIFF"),
        (b"", "is no TIFF"),
    ],
    ids=["line lacking", "sample more", "real", "complex64", "zero", "late zero", "cut", "json", "empty"],
)
def test_a_wrong_burst_is_refused(checked: Any, data: bytes, why: str) -> None:
    with pytest.raises(SourceDataError, match=why):
        checked(data)


def side(*bursts: Burst, granule: Granule | None = None) -> SlcPass:
    granule = granule or Granule(
        name=GRANULE, platform="sentinel-1a", absolute_orbit=23385, relative_orbit=46, direction="ascending",
        start=START, end=START + timedelta(seconds=27), polarisations=("vv", "vh"), geometry=BOX,
        url=f"https://datapool.asf.alaska.edu/SLC/SA/{GRANULE}.zip",
    )  # fmt: skip
    return SlcPass(
        platform="sentinel-1a", absolute_orbit=23385, relative_orbit=46, direction="ascending", instant=START,
        granules=(granule,), bursts=bursts,
    )  # fmt: skip


@pytest.fixture
def server() -> Iterator[Loopback]:
    files = {
        f"{HOST}/{GRANULE}/IW2/VV/{i}.{kind}": data
        for i in (0, 1)
        for kind, data in (("xml", XML), ("tiff", tiff()))
    }
    with Loopback(files) as loopback, standing_for_all_hosts(loopback):
        yield loopback


def test_bursts_come_in_the_order_asked_for_with_their_annotation(server: Loopback, tmp_path: Path) -> None:
    both = side(burst(0), burst(1))
    ids = ["046_099061_IW2", "046_099060_IW2"]
    files = fetch_slc(both, ids, "vv", tmp_path / "in")
    assert [path.name for path in files] == [f"{burst(i).id}.tiff" for i in (1, 0)]
    assert all(path.with_suffix(".xml").read_bytes() == XML for path in files)
    asked = len(server.seen)
    assert fetch_slc(both, ids, "vv", tmp_path / "in") == files
    assert len(server.seen) == asked


def test_a_damaged_burst_at_hand_is_fetched_anew(server: Loopback, tmp_path: Path) -> None:
    (path,) = fetch_slc(side(burst()), ["046_099061_IW2"], "vv", tmp_path)
    path.write_bytes(path.read_bytes()[:-1500])
    fetch_slc(side(burst()), ["046_099061_IW2"], "vv", tmp_path)
    assert path.read_bytes() == tiff()


def test_an_answer_with_another_burst_is_asked_for_once_more(server: Loopback, tmp_path: Path) -> None:
    name = f"{HOST}/{GRANULE}/IW2/VV/1.tiff"
    wrong = [Reply(200, {"ETag": '"x"'}, tiff(lines=70))]
    server.rules.append(lambda seen: wrong.pop() if seen.path == name and wrong else None)
    (path,) = fetch_slc(side(burst()), ["046_099061_IW2"], "vv", tmp_path)
    assert path.read_bytes() == tiff()
    server.files[name] = tiff(lines=70)
    path.unlink()
    with pytest.raises(SourceDataError, match="70 lines"):
        fetch_slc(side(burst()), ["046_099061_IW2"], "vv", tmp_path)
    assert not path.exists()


def test_a_burst_that_the_overflight_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="046_000001_IW3"):
        fetch_slc(side(burst()), ["046_000001_IW3"], "vv", tmp_path)
    with pytest.raises(ArchiveError, match="in VH"):
        fetch_slc(side(burst()), ["046_099061_IW2"], "vh", tmp_path)


def test_a_hostile_name_is_no_path(server: Loopback, tmp_path: Path) -> None:
    bad = burst().model_copy(update={"id": "../../escape"})
    with pytest.raises(SourceDataError, match="no name"):
        fetch_slc(side(bad), ["046_099061_IW2"], "vv", tmp_path / "in")
    assert {p.name for p in tmp_path.iterdir()} == {"in"}


def packed(polarisation: str = "vv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (
            "manifest.safe",
            f"annotation/s1a-iw2-slc-{polarisation}-1.xml",
            f"measurement/s1a-iw2-slc-{polarisation}-1.tiff",
        ):
            archive.writestr(f"{GRANULE}.SAFE/{name}", name * 1000)
    return buffer.getvalue()


def test_a_granule_is_fetched_checked_unpacked_and_its_zip_dropped(server: Loopback, tmp_path: Path) -> None:
    data = packed()
    server.files[f"datapool.asf.alaska.edu/SLC/SA/{GRANULE}.zip"] = data
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    granule = side().granules[0].model_copy(update={"size_bytes": len(data), "md5": md5})
    whole = side(burst(), granule=granule)

    def fetch() -> tuple[Path, ...]:
        return fetch_slc(whole, ["046_099061_IW2"], "vv", tmp_path, "granules")

    (safe,) = fetch()
    assert safe == tmp_path / f"{GRANULE}.SAFE"
    assert (safe / "manifest.safe").is_file()
    assert not list(tmp_path.glob("*.zip*"))
    asked = len(server.seen)
    assert fetch() == (safe,)
    assert len(server.seen) == asked
    (safe / "measurement" / "s1a-iw2-slc-vv-1.tiff").write_bytes(b"cut")
    assert fetch() == (safe,)
    assert len(server.seen) == asked + 1
    assert (safe / "measurement" / "s1a-iw2-slc-vv-1.tiff").stat().st_size > 3


def test_a_granule_without_the_polarisation_is_refused(server: Loopback, tmp_path: Path) -> None:
    server.files[f"datapool.asf.alaska.edu/SLC/SA/{GRANULE}.zip"] = packed("vh")
    with pytest.raises(SourceDataError, match="VV"):
        fetch_slc(side(burst()), ["046_099061_IW2"], "vv", tmp_path, "granules")
    assert not list(tmp_path.glob("*.SAFE"))


def test_a_zip_of_a_version_to_come_is_refused(server: Loopback, tmp_path: Path) -> None:
    data = bytearray(packed())
    data[data.index(b"PK\x01\x02") + 6] = 99
    server.files[f"datapool.asf.alaska.edu/SLC/SA/{GRANULE}.zip"] = bytes(data)
    with pytest.raises(SourceDataError, match=GRANULE):
        fetch_slc(side(burst()), ["046_099061_IW2"], "vv", tmp_path, "granules")


def test_rasterio_opens_what_the_tests_make() -> None:
    with MemoryFile(tiff()) as memory, memory.open() as image:
        assert image.dtypes == ("complex_int16",)
    assert rasterio.__version__
