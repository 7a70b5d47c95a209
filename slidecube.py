"""slidecube: from a Sentinel-1 archive to an aligned landslide cube, and from the cube to a landslide map.

    >>> import slidecube
    >>> sorted(slidecube.areas())[:2]
    ['hokkaido', 'kaikoura']

Areas are named as on the command line, or given as the path of an area file; cubes and models by the name of their
area, which means the newest, or by path. A cube that is opened has the accessor `cube.slidecube`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.api import (
        DetectorMapPlan,
        MapPlan,
        StrictSettings,
        TrainingRequest,
        export_bundle,
        load_bundle,
        map,
        run_strict,
        train,
    )
    from model.inputs.channel import Channel
    from model.inputs.channel_registry import register_channel
    from model.network.architectures import register_network
    from model.network.chips.chip_data_module import ChipDataModule
    from model.network.chips.chip_dataset import ChipDataset
    from model.network.parts.losses import register_loss
    from pipeline.build.cube_api import areas, build, open_cube, plan, verify

__all__ = [
    "Channel",
    "ChipDataModule",
    "ChipDataset",
    "DetectorMapPlan",
    "MapPlan",
    "StrictSettings",
    "TrainingRequest",
    "areas",
    "build",
    "export_bundle",
    "load_bundle",
    "map",
    "open_cube",
    "plan",
    "register_channel",
    "register_loss",
    "register_network",
    "run_strict",
    "train",
    "verify",
]

_HOMES = {
    "pipeline.build.cube_api": ("areas", "build", "open_cube", "plan", "verify"),
    "model.api": (
        "DetectorMapPlan",
        "MapPlan",
        "StrictSettings",
        "TrainingRequest",
        "export_bundle",
        "load_bundle",
        "map",
        "run_strict",
        "train",
    ),
    "model.inputs.channel": ("Channel",),
    "model.inputs.channel_registry": ("register_channel",),
    "model.network.architectures": ("register_network",),
    "model.network.chips.chip_data_module": ("ChipDataModule",),
    "model.network.chips.chip_dataset": ("ChipDataset",),
    "model.network.parts.losses": ("register_loss",),
}


def _check_rooms() -> None:
    """Name a file of the user's that hides one of slidecube's packages, such as a `model.py` in a notebook's folder."""
    import sys

    here = Path(__file__).resolve().parent
    for room in sorted({home.partition(".")[0] for home in _HOMES}):
        loaded = sys.modules.get(room)
        found = getattr(loaded, "__file__", None)
        if loaded is None and (spec := PathFinder.find_spec(room)) is not None:
            found = spec.origin
        if found is not None and Path(found).resolve().parent != here / room:
            raise ImportError(
                f"{found} hides slidecube's package {room!r}. Rename it, or start Python in another folder.",
                name=room,
                path=found,
            )


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            try:
                return getattr(import_module(home), name)
            except ModuleNotFoundError as error:
                if home.startswith("model.") and error.name != home:
                    raise ModuleNotFoundError(
                        f"slidecube.{name} needs the package {error.name}, which is not installed. "
                        "Install the extra: pip install 'slidecube[model]'.",
                        name=error.name,
                    ) from error
                raise
    raise AttributeError(f"module 'slidecube' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


_check_rooms()
import_module("pipeline.cube.accessor")  # so that a cube opened by xarray has it too
