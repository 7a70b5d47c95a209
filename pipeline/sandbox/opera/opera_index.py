"""The index of a world's bursts of OPERA RTC-S1: `opera/index.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipeline.catalogue.identities import Direction
from pipeline.files import write_whole
from pipeline.records import Frozen, Utc
from pipeline.sandbox.earth.parameters import SandboxError

INDEX = "opera/index.json"
HOST, FOLDER = "datapool.asf.alaska.edu", "RTC/OPERA-S1"
"""Where the files of the collection lie (recorded in results of CMR)."""


class OperaFile(Frozen):
    """One file of a burst."""

    name: str
    size_bytes: int
    md5: str

    @property
    def url(self) -> str:
        """The address that the archive lists."""
        return f"https://{HOST}/{FOLDER}/{self.name}"


class OperaBurst(Frozen):
    """One product: a burst of an overflight."""

    name: str = Field(
        pattern=r"^OPERA_L2_RTC-S1_T\d{3}-\d{6}-IW[123]_\d{8}T\d{6}Z_\d{8}T\d{6}Z_S1[A-D]_30_v1\.0$"
    )
    absolute_orbit: int
    relative_orbit: int
    direction: Direction
    granule: str = Field(description="name of the SLC product that it is made of")
    start: Utc
    end: Utc
    processed: Utc
    geometry: dict[str, Any] = Field(description="GeoJSON, degrees WGS 84")
    files: dict[str, OperaFile] = Field(description="by layer: VV, VH, mask")

    @property
    def burst_id(self) -> str:
        """As in 'T131_279916_IW1'."""
        return self.name.split("_")[3].replace("-", "_")


def product_name(burst: str, start: Utc, processed: Utc, unit: str) -> str:
    """The name of a product; `burst` as in 'T131-279916-IW1', `unit` as in 'S1A'."""
    form = "%Y%m%dT%H%M%SZ"
    return f"OPERA_L2_RTC-S1_{burst}_{start.strftime(form)}_{processed.strftime(form)}_{unit}_30_v1.0"


def write_opera_index(root: Path, bursts: list[OperaBurst]) -> None:
    """Write the index of a world."""
    path = root / INDEX
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps([burst.model_dump(mode="json") for burst in bursts], indent=1))


def read_opera_index(root: Path) -> tuple[OperaBurst, ...]:
    """The bursts of a world, none where it has no index.

    Raises:
        SandboxError: the index is unreadable.
    """
    path = root / INDEX
    if not path.exists():
        return ()
    try:
        return tuple(OperaBurst.model_validate(one) for one in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise SandboxError(f"{path} cannot be read ({str(error)[:300]}).", "Make the world again.") from error
