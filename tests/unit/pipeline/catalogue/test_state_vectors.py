"""Orbit files: what is read, and what is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.catalogue import state_vectors
from pipeline.catalogue.slc import StateVector
from pipeline.catalogue.state_vectors import read_orbit_file, read_orbit_name
from pipeline.errors import SourceDataError
from tests.unit.made_orbits import INSTANT, made_orbit_file

NAME = "S1A_OPER_AUX_POEORB_OPOD_20180925T120544_V20180904T225942_20180906T005942"
HEADER = """<Earth_Explorer_Header>
<Fixed_Header><File_Name>{name}</File_Name><Mission>{mission}</Mission><File_Type>AUX_POEORB</File_Type></Fixed_Header>
<Variable_Header><Ref_Frame>{frame}</Ref_Frame><Time_Reference>{reference}</Time_Reference></Variable_Header>
</Earth_Explorer_Header>"""
VECTORS = made_orbit_file(141.9, 42.7, 39.0).state_vectors


def osv(vector: StateVector, quality: str = "NOMINAL") -> str:
    """One state vector as the archive writes it."""
    time = vector.time.replace(tzinfo=None).isoformat(timespec="microseconds")
    lines = [f"<TAI>TAI={time}</TAI>", f"<UTC>UTC={time}</UTC>", f"<UT1>UT1={time}</UT1>"]
    lines.append("<Absolute_Orbit>+23556</Absolute_Orbit>")
    lines += [f'<{a} unit="m">{v:.6f}</{a}>' for a, v in zip("XYZ", vector.position_m, strict=True)]
    lines += [f'<V{a} unit="m/s">{v:.6f}</V{a}>' for a, v in zip("XYZ", vector.velocity_m_s, strict=True)]
    return "<OSV>" + "".join(lines) + f"<Quality>{quality}</Quality></OSV>"


def document(
    rows: list[str] | None = None,
    *,
    count: int | None = None,
    prologue: str = '<?xml version="1.0" ?>',
    **header: str,
) -> str:
    """An orbit file's text."""
    rows = [osv(vector) for vector in VECTORS] if rows is None else rows
    known = {"name": NAME, "mission": "Sentinel-1A", "frame": "EARTH_FIXED", "reference": "UTC"} | header
    listed = "\n".join(rows)
    return (
        f"{prologue}<Earth_Explorer_File>{HEADER.format(**known)}<Data_Block type='xml'>"
        f"<List_of_OSVs count='{len(rows) if count is None else count}'>{listed}</List_of_OSVs>"
        "</Data_Block></Earth_Explorer_File>"
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def _write(text: str, name: str = f"{NAME}.EOF") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def test_reads_platform_kind_validity_and_vectors(write: Callable[[str], Path]) -> None:
    rows = [osv(v, "DEGRADED" if i == 3 else "NOMINAL") for i, v in enumerate(VECTORS)]
    found = read_orbit_file(write(document(rows)))
    assert (found.name, found.platform, found.kind) == (NAME, "sentinel-1a", "precise")
    assert found.validity == (
        datetime(2018, 9, 4, 22, 59, 42, tzinfo=UTC),
        datetime(2018, 9, 6, 0, 59, 42, tzinfo=UTC),
    )
    assert found.degraded == 1
    assert [v.time for v in found.state_vectors] == [v.time for v in VECTORS]
    assert found.state_vectors[7].position_m == pytest.approx(VECTORS[7].position_m, abs=1e-5)
    assert found.state_vectors[7].velocity_m_s == pytest.approx(VECTORS[7].velocity_m_s, abs=1e-5)


def test_the_header_may_be_empty_and_elements_may_have_a_namespace(write: Callable[[str], Path]) -> None:
    text = re.sub("(?s)<Earth_Explorer_Header>.*</Earth_Explorer_Header>", "", document())
    text = text.replace("<Earth_Explorer_File>", '<Earth_Explorer_File xmlns="http://eop.example/eof">')
    assert len(read_orbit_file(write(text)).state_vectors) == len(VECTORS)


def test_vectors_around_an_overflight() -> None:
    orbit = made_orbit_file(141.9, 42.7, 39.0)
    around = orbit.around(INSTANT, INSTANT + timedelta(seconds=20), margin_s=30)
    assert around[0].time <= INSTANT - timedelta(seconds=30)
    assert around[-1].time >= INSTANT + timedelta(seconds=50)
    assert len(around) < len(orbit.state_vectors)
    with pytest.raises(SourceDataError, match="made"):
        orbit.around(INSTANT, INSTANT + timedelta(hours=1))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("orbit.EOF", "is no name"),
        (NAME.replace("POEORB", "PREORB"), "kind PREORB"),
        (NAME.replace("V20180904", "V20181304"), "V20181304"),
        (NAME.replace("V20180904", "V20190904"), "V20190904"),
        (NAME.replace("S1A", "S2A"), "is no name"),
        ("../" + NAME, "is no name"),
    ],
)
def test_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(SourceDataError, match=words):
        read_orbit_name(name)


def test_kinds_by_name() -> None:
    restituted = read_orbit_name(NAME.replace("POEORB", "RESORB").replace("S1A", "S1C") + ".EOF")
    assert (restituted.kind, restituted.platform) == ("restituted", "sentinel-1c")
    assert restituted.covers(INSTANT, INSTANT + timedelta(minutes=1))
    assert not restituted.covers(INSTANT, INSTANT + timedelta(days=1))


def changed(index: int, pattern: str, text: str) -> list[str]:
    rows = [osv(vector) for vector in VECTORS]
    rows[index], times = re.subn(pattern, text, rows[index], count=1)
    assert times == 1
    return rows


ENTITY = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "XML"),
        (document()[:-300], "cut short"),
        ("<html><body>503</body></html>", "'html'"),
        (document(prologue=ENTITY), "document type"),
        (document(frame="EME2000"), "EME2000"),
        (document(reference="TAI"), "TAI"),
        (document(mission="Sentinel-1B"), "Sentinel-1B"),
        (document(name=NAME.replace("S1A", "S1B")), "states File_Name"),
        (document(count=9361), "'9361'.* 61"),
        (document([]), "holds 0 "),
        (document(changed(5, r"<X unit=\"m\">[^<]*", "<X unit='m'>nan")), r"number 6\) nan"),
        (document(changed(5, r"<X unit=\"m\">[^<]*", "<X unit='m'>12,5")), r"number 6\)"),
        (document(changed(5, r"<VY.*?</VY>", "")), r"number 6\)"),
        (document(changed(5, r"UTC=[^<]*", "UTC=2018-09-05T25:00:00")), r"number 6\)"),
        (document(changed(5, r"UTC=[^<]*", "UTC=2018-09-05T20:37:00+09:00")), "with a zone"),
        (document(changed(5, r"UTC=[^<]*", "UTC=2018-09-05T20:30:00")), "step"),
        (document([osv(v) for v in (*VECTORS[:9], *VECTORS[40:])]), "320 s"),
        (document([osv(v) for v in VECTORS[::-1]]), "-10 s"),
        (document(changed(5, r"(<Z unit=\"m\">-?\d\d\d)\d\d", r"\g<1>00")), "jumps by"),
        (document(changed(5, r"(<VZ unit=\"m/s\">)-", r"\g<1>")), "jumps by"),
    ],
)
def test_what_is_refused_and_how_it_is_told(write: Callable[[str], Path], text: str, words: str) -> None:
    with pytest.raises(SourceDataError, match=words) as caught:
        read_orbit_file(write(text))
    assert NAME in str(caught.value)
    assert "another orbit file" in caught.value.remedy


def test_vectors_of_another_time_than_the_name_says(write: Callable[[str], Path]) -> None:
    name = NAME.replace("20180904", "20180914").replace("20180906", "20180916")
    with pytest.raises(SourceDataError, match="state vectors"):
        read_orbit_file(write(document(name=name), f"{name}.EOF"))  # type: ignore[call-arg]


def test_too_large_and_absent(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(document())
    monkeypatch.setattr(state_vectors, "MOST_FILE_BYTES", 2**10)
    with pytest.raises(SourceDataError, match="larger than"):
        read_orbit_file(path)
    path.unlink()
    with pytest.raises(SourceDataError, match="cannot be read"):
        read_orbit_file(path)
