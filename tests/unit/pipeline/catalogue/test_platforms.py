"""Every spelling of a satellite becomes one."""

from __future__ import annotations

import pytest

from pipeline.catalogue.platforms import platform_name


@pytest.mark.parametrize(
    "stated", ["S1A", "s1a", "SENTINEL-1A", "Sentinel-1A", "sentinel_1a", " sentinel 1a ", "sentinel-1a"]
)
def test_every_spelling_of_a_satellite_is_one(stated: str) -> None:
    assert platform_name(stated) == "sentinel-1a"


def test_other_satellites_keep_their_names() -> None:
    assert platform_name("SENTINEL-1C") == platform_name("S1C") == "sentinel-1c"
    assert platform_name("ALOS 2") == "alos-2"
    assert platform_name("S1Z") == "s1z"
