"""The locks: every release is pinned once, and all but torch's have the hashes of their files."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
WITHOUT_HASHES = {"torch", "torchvision"}
"""whose wheels differ from machine to machine"""
NOT_SET_UP = {"lightning", "mlflow"}
"""extras for programs of a user's own, which `make setup` leaves out"""


def pins(name: str) -> dict[str, Requirement]:
    """The releases of a lock, by name."""
    lines = (PROJECT / name).read_text().replace("\\\n", " ").splitlines()
    found = [Requirement(line.split(" --hash")[0].strip()) for line in lines if line and line[0] != "#"]
    assert len({canonicalize_name(each.name) for each in found}) == len(found)
    return {canonicalize_name(each.name): each for each in found}


def test_every_release_is_pinned_exactly_and_in_one_lock():
    hashed, torch = pins("requirements.lock"), pins("requirements-torch.lock")
    assert set(torch) == WITHOUT_HASHES and not WITHOUT_HASHES & set(hashed)
    for pin in (*hashed.values(), *torch.values()):
        assert [each.operator for each in pin.specifier] == ["=="], pin


def test_every_release_of_the_hashed_lock_has_hashes_and_no_place():
    text = (PROJECT / "requirements.lock").read_text()
    entries = [entry for entry in re.split(r"\n(?=[A-Za-z0-9])", text) if not entry.startswith("#")]
    assert len(entries) == len(pins("requirements.lock"))
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
    assert "://" not in text and "--index" not in text


def test_what_the_project_asks_for_is_pinned_as_it_asks():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    locked = pins("requirements.lock") | pins("requirements-torch.lock")
    extras = {
        name: lines for name, lines in project["optional-dependencies"].items() if name not in NOT_SET_UP
    }
    assert len(extras) == len(project["optional-dependencies"]) - len(NOT_SET_UP)
    for line in chain(project["dependencies"], *extras.values()):
        wanted = Requirement(line)
        if wanted.name == project["name"]:  # an extra of extras
            assert wanted.extras <= set(project["optional-dependencies"]), line
            continue
        pin = locked[canonicalize_name(wanted.name)]
        (version,) = (each.version for each in pin.specifier)
        assert wanted.specifier.contains(version), line
