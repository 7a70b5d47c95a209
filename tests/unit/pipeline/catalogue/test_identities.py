"""Every spelling of a satellite, a direction, a polarisation and an id becomes one."""

from __future__ import annotations

import pytest

from pipeline.catalogue.identities import direction_name, id_key, platform_name, polarisations_in


@pytest.mark.parametrize(
    "stated", ["S1A", "s1a", "SENTINEL-1A", "Sentinel-1A", "sentinel_1a", " sentinel 1a ", "sentinel-1a"]
)
def test_every_spelling_of_a_satellite_is_one(stated: str) -> None:
    assert platform_name(stated) == "sentinel-1a"


def test_other_satellites_keep_their_names() -> None:
    assert platform_name("SENTINEL-1C") == platform_name("S1C") == "sentinel-1c"
    assert platform_name("ALOS 2") == "alos-2"
    assert platform_name("S1Z") == "s1z"


@pytest.mark.parametrize(
    ("stated", "direction"),
    [
        ("D", "descending"),
        ("asc ", "ascending"),
        ("DESCENDING", "descending"),
        ("up", None),
        (None, None),
        (5, None),
    ],
)
def test_directions(stated: object, direction: str | None) -> None:
    assert direction_name(stated) == direction


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ("VV+VH", ("vv", "vh")), ("VH, VV", ("vv", "vh")), ("DV", ("vv", "vh")), ("Dual VV", ("vv",)), ("SV", ("vv",)),
        ("DH", ("hh", "hv")), ("SH", ("hh",)), (["VV", "VH"], ("vv", "vh")), ("", ()), (None, ()), (5, ()),
    ],
)  # fmt: skip
def test_polarisations(stated: object, names: tuple[str, ...]) -> None:
    assert polarisations_in(stated) == names


def test_ids_of_a_granule_and_of_its_file_are_one() -> None:
    name = "S1A_IW_SLC__1SDV_20180905T202122_20180905T202149_023560_029137_8F11"
    assert {id_key(f) for f in (name, f" {name}-SLC", f"{name}.zip", f"{name}.SAFE.zip", name.lower())} == {
        name.lower()
    }
