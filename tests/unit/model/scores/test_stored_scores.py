"""Scores of a trial from elsewhere: whole and as they must be, or refused before memory is taken."""

from __future__ import annotations

import io
import os
import pickle
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.scores import stored_scores
from model.scores.stored_scores import read_scores
from pipeline.errors import ModelError

SCORE = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
LABELS = np.array([[0, 1, 255, 0, 0, 1]] * 4, dtype=np.uint8)
CORNER = np.array([64, 128], dtype=np.int64)


def member(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array(written, array, allow_pickle=True)
    return written.getvalue()


def header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"shape": shape, "fortran_order": False, "descr": kind})
    return written.getvalue()


SOUND = {"score": member(SCORE), "labels": member(LABELS), "corner": member(CORNER)}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_sound_scores_are_read_as_written(tmp_path):
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "one.npz", score=SCORE, labels=LABELS, corner=CORNER)
        found = read_scores(tmp_path / "one.npz")
        assert np.array_equal(found.score, SCORE) and np.array_equal(found.labels, LABELS)
        assert found.corner == (64, 128)


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def odd(name: str, tmp_path: Path) -> dict[str, bytes]:
    """Members of a file of scores with one thing wrong."""
    wrong: dict[str, dict[str, bytes]] = {
        "a larger shape than memory": {
            "score": header((20_000, 20_000), "<f8"),
            "labels": header((20_000, 20_000), "|u1"),
        },
        "a shape beyond any scene": {
            "score": header((2**40, 2**20)),
            "labels": header((2**40, 2**20), "|u1"),
        },
        "a negative shape": {"score": header((-4, -6)), "labels": header((-4, -6), "|u1")},
        "an empty rectangle": {"score": header((0, 6)), "labels": header((0, 6), "|u1")},
        "objects": {"score": member(np.array([[_Touch(tmp_path / "ran")]], dtype=object))},
        "a pickle in place of an array": {"score": pickle.dumps(_Touch(tmp_path / "ran"))},
        "text": {"labels": member(np.array([["landslide"] * 6] * 4))},
        "whole numbers as scores": {"score": member(SCORE.astype(np.int32))},
        "records as scores": {"score": member(np.zeros((4, 6), dtype=[("a", "<f4")]))},
        "labels of another shape": {"labels": member(LABELS[:3])},
        "three axes": {"score": member(SCORE[None]), "labels": member(LABELS[None])},
        "labels of another code": {"labels": member(LABELS + np.uint8(1))},
        "a corner before the scene": {"corner": member(np.array([-1, 0]))},
        "a corner far outside": {"corner": member(np.array([2**62, 0]))},
        "a corner of three": {"corner": member(np.array([0, 0, 0]))},
        "a corner of fractions": {"corner": member(np.array([0.5, 0.0]))},
        "an array cut short": {"score": SOUND["score"][:-8]},
        "an array that goes on": {"score": SOUND["score"] + bytes(8)},
        "no header": {"score": b"\x93NUMPY\x01\x00\xff\xff("},
        "a header of nested brackets": {
            "score": b"\x93NUMPY\x01\x00" + (4000).to_bytes(2, "little") + b"(" * 4000
        },
        "a long header": {"score": b"\x93NUMPY\x01\x00" + (60_000).to_bytes(2, "little") + b" " * 60_000},
        "another array": {"more": member(SCORE)},
        "a path": {"../../score": member(SCORE)},
    }
    return {**SOUND, **wrong[name]}


@pytest.mark.parametrize(
    "name",
    [
        "a larger shape than memory", "a shape beyond any scene", "a negative shape", "an empty rectangle", "objects",
        "a pickle in place of an array", "text", "whole numbers as scores", "records as scores",
        "labels of another shape", "three axes", "labels of another code", "a corner before the scene",
        "a corner far outside", "a corner of three", "a corner of fractions", "an array cut short",
        "an array that goes on", "no header", "a header of nested brackets", "a long header", "another array", "a path",
    ],
)  # fmt: skip
def test_what_is_no_file_of_scores_is_refused(name, tmp_path, monkeypatch):
    free = type("Free", (), {"available": 2**30})
    monkeypatch.setattr(stored_scores.psutil, "virtual_memory", lambda: free)
    with pytest.raises(ModelError, match=r"cannot be read: .*odd\.npz"):
        read_scores(zipped(tmp_path / "odd.npz", odd(name, tmp_path)))
    assert not (tmp_path / "ran").exists()


def test_a_file_that_unpacks_to_gigabytes_takes_no_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, kind in (("score", "<f4"), ("labels", "|u1")):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                file.write(header((30_000, 30_000), kind))
                for _ in range(8):
                    file.write(bytes(2**24))
        archive.writestr("corner.npy", SOUND["corner"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="900,000,000 pixels"):
        read_scores(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "empty", "cut", "flipped", "many members"])
def test_a_damaged_file_is_named(kind, tmp_path):
    path = zipped(tmp_path / "one.npz", SOUND)
    raw = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "many members":
        zipped(path, {**SOUND, **{f"{number:040}": b"" for number in range(3000)}})
    elif kind != "absent":
        path.write_bytes({"empty": b"", "cut": raw[:-30], "flipped": raw[:90] + b"\xff\xff" + raw[92:]}[kind])
    with pytest.raises(ModelError, match=r"cannot be read: .*one\.npz"):
        read_scores(path)


def test_no_flipped_bit_is_a_traceback_or_another_value(tmp_path):
    raw = bytearray(zipped(tmp_path / "one.npz", SOUND).read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(len(raw), 120, replace=False):
        changed = raw.copy()
        changed[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "flipped.npz").write_bytes(changed)
        try:
            found = read_scores(tmp_path / "flipped.npz")
        except ModelError:
            refused += 1
        else:  # a time of day, or attributes of the zip
            assert np.array_equal(found.score, SCORE) and np.array_equal(found.labels, LABELS)
            assert found.corner == (64, 128)
    assert refused > 60
