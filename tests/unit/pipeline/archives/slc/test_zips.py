"""Zips from outside: nothing is written outside the target, and no zip bomb is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from pipeline.archives.slc import zips
from pipeline.archives.slc.zips import Limits, entries_of, unpack, unpack_folder
from pipeline.errors import ArchiveError, SourceDataError

TOP = "S1A.SAFE"


def make(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir(exist_ok=True)
    return folder


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_folder_is_unpacked_as_it_is(tmp_path: Path) -> None:
    packed = make(
        tmp_path / "a.zip",
        (f"{TOP}/", b""),
        (f"{TOP}/manifest.safe", b"<manifest>"),
        (f"{TOP}/measurement/s1a-iw1.tiff", b"II*\0" + bytes(10_000)),
    )
    folder = unpack(packed, target(tmp_path), TOP)
    assert folder == tmp_path / "target" / TOP
    assert (folder / "manifest.safe").read_bytes() == b"<manifest>"
    assert (folder / "measurement" / "s1a-iw1.tiff").stat().st_size == 10_004
    assert everything(tmp_path / "target") == {
        TOP, f"{TOP}/manifest.safe", f"{TOP}/measurement", f"{TOP}/measurement/s1a-iw1.tiff"
    }  # fmt: skip


def link(name: str, kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "entry",
    [
        f"{TOP}/../../outside",
        f"{TOP}/a/../../../outside",
        "/etc/outside",
        "../outside",
        "other/file",
        TOP + "/a\\..\\outside",
        "C:/outside",
        f"{TOP}/./file",
        f"{TOP}//file",
        f"{TOP}/new\nline",
        f"{TOP}/tab\x1b[2J",
        f"{TOP}/ümlaut",
        link(f"{TOP}/link"),
        link(f"{TOP}/pipe", stat.S_IFIFO),
        link(f"{TOP}/device", stat.S_IFBLK),
    ],
    ids=repr,
)
def test_what_leads_elsewhere_is_refused_before_a_byte_is_written(
    tmp_path: Path, entry: str | zipfile.ZipInfo
) -> None:
    packed = make(tmp_path / "a.zip", (f"{TOP}/good", b"x"), (entry, b"/etc/passwd"))
    before = everything(tmp_path) | {"target"}
    with pytest.raises(SourceDataError, match=r"a\.zip"):
        unpack(packed, target(tmp_path), TOP)
    assert everything(tmp_path) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{TOP}/a", f"{TOP}/a"),
        (f"{TOP}/a", f"{TOP}/A"),
        (f"{TOP}/a", f"{TOP}/a/b"),
        (f"{TOP}/a/b", f"{TOP}/a"),
    ],
)
def test_a_name_is_there_once(tmp_path: Path, first: str, second: str) -> None:
    packed = make(tmp_path / "a.zip", (first, b"1"), (second, b"2"))
    with pytest.raises(SourceDataError, match=r"twice|folder"):
        unpack(packed, target(tmp_path), TOP)
    assert everything(tmp_path / "target") == set()


def test_a_bomb_is_refused_by_what_it_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = make(tmp_path / "a.zip", (f"{TOP}/zeros", bytes(20_000_000)))
    monkeypatch.setattr(zips, "RATIO_FROM_BYTES", 1_000_000)
    with pytest.raises(SourceDataError, match=r"a\.zip"):
        unpack(packed, target(tmp_path), TOP)
    monkeypatch.setattr(zips, "SLC_LIMITS", Limits(entries=2000, unpacked_bytes=10_000_000))
    with pytest.raises(SourceDataError, match="unpacks to"):
        unpack(packed, target(tmp_path), TOP)
    monkeypatch.setattr(zips, "SLC_LIMITS", Limits(entries=1, unpacked_bytes=10_000_000))
    many = make(tmp_path / "b.zip", (f"{TOP}/a", b""), (f"{TOP}/b", b""))
    with pytest.raises(SourceDataError, match="2 entries"):
        unpack(many, target(tmp_path), TOP)
    assert everything(tmp_path / "target") == set()


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    packed = make(tmp_path / "a.zip", (f"{TOP}/zeros", bytes(20_000_000)))
    raw = bytearray(packed.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        offset = raw.index(signature) + at
        assert struct.unpack_from("<I", raw, offset)[0] == 20_000_000
        struct.pack_into("<I", raw, offset, 1000)
    packed.write_bytes(raw)
    with pytest.raises(SourceDataError, match=r"a\.zip"):
        unpack(packed, target(tmp_path), TOP)
    assert everything(tmp_path / "target") == set()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_zip_leaves_nothing_and_spares_what_was_there(tmp_path: Path, damage: str) -> None:
    packed = make(tmp_path / "a.zip", (f"{TOP}/a", bytes(range(256)) * 100), (f"{TOP}/b", b"x" * 1000))
    raw = bytearray(packed.read_bytes())
    if damage == "flipped":
        raw[60] ^= 0xFF
    packed.write_bytes(
        {"cut": raw[: len(raw) // 2], "flipped": raw, "empty": b"", "other": b"no zip"}[damage]
    )
    old = target(tmp_path) / TOP
    old.mkdir()
    (old / "kept").write_bytes(b"kept")
    with pytest.raises(SourceDataError):
        unpack(packed, tmp_path / "target", TOP)
    assert everything(tmp_path / "target") == {TOP, f"{TOP}/kept"}


def test_one_folder_of_a_zip_is_unpacked_under_another_name_and_the_rest_is_left_out(tmp_path: Path) -> None:
    """Names of Zarr groups have colons; programs of the Mac add a folder of their own."""
    packed = make(
        tmp_path / "a.zip", ("data/cube.zarr/.zgroup", b"{}"), ("data/cube.zarr/sat:orbit_state/0", b"d"),
        ("__MACOSX/._cube.zarr", b"x"),
    )  # fmt: skip
    limits = Limits(entries=10, unpacked_bytes=1000)
    assert len(entries_of(packed, limits)) == 3
    written: list[tuple[int, int | None]] = []
    folder = unpack_folder(
        packed, target(tmp_path) / "mine", "data/cube.zarr", limits,
        progress=lambda what, done, total=None, remark="", /: written.append((done, total)),
    )  # fmt: skip
    assert everything(folder) == {".zgroup", "sat:orbit_state", "sat:orbit_state/0"}
    assert everything(tmp_path / "target") == {"mine", *(f"mine/{name}" for name in everything(folder))}
    assert written[-1] == (3, 3)
    assert "data" in everything(unpack_folder(packed, tmp_path / "target" / "all", "", limits))
    for inside in ("data/other", "data/cube.zarr/.zgroup"):
        with pytest.raises(SourceDataError, match=r"a\.zip"):
            unpack_folder(packed, tmp_path / "target" / "none", inside, limits)
    with pytest.raises(SourceDataError, match="3 entries"):
        entries_of(packed, Limits(entries=2, unpacked_bytes=1000))
    assert not (tmp_path / "target" / "none").exists()


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    packed = make(tmp_path / "a.zip", (f"{TOP}/a", b"x"))
    raw = bytearray(packed.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(raw)
    with pytest.raises(SourceDataError, match="encrypted"):
        unpack(packed, target(tmp_path), TOP)


def test_a_disk_without_room_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_folder: Path, needed: int, _name: str) -> None:
        raise ArchiveError(f"no room for {needed}")

    packed = make(tmp_path / "a.zip", (f"{TOP}/a", b"x" * 123))
    monkeypatch.setattr(zips, "ensure_room", full)
    with pytest.raises(ArchiveError, match="123"):
        unpack(packed, target(tmp_path), TOP)
    assert everything(tmp_path / "target") == set()


def test_a_real_product_is_unpacked(tmp_path: Path, shared_data: Path) -> None:
    packed = next((shared_data / "slc_safe_real_metadata").glob("*.zip"))
    with zipfile.ZipFile(packed) as archive:
        top = archive.namelist()[0].partition("/")[0]
        files = {e.filename: e.file_size for e in archive.infolist() if not e.is_dir()}
    folder = unpack(packed, target(tmp_path), top)
    assert {
        str(p.relative_to(tmp_path / "target")): p.stat().st_size for p in folder.rglob("*") if p.is_file()
    } == files
