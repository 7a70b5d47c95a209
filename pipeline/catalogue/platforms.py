"""How a satellite is spelt: 'sentinel-1a' here, 'S1A' or 'SENTINEL-1A' elsewhere."""

from __future__ import annotations

import re


def platform_name(stated: str) -> str:
    """The satellite as it is spelt in cubes and catalogues: 'sentinel-1a'.

    `stated` is its name in any spelling ('SENTINEL-1A', 'sentinel_1a') or its abbreviation ('S1A'); the name of
    another satellite is returned in lower case with hyphens.
    """
    name = re.sub(r"[ _]", "-", stated.strip().lower())
    return re.sub(r"^s(1[a-d])$", r"sentinel-\1", name)
