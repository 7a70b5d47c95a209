"""Import torch, and the libraries that import torchvision, from this module only.

A torchvision wheel whose compiled part does not fit the installed torch (a CUDA wheel with a CPU-only torch) fails at
import with `operator torchvision::nms does not exist`. This project does not use those operators, so it is enough to
declare their schemas before torchvision is imported. If the compiled part loads, nothing is done.

`smp` (segmentation_models_pytorch) is imported when it is first asked for: with timm and torchvision it takes as long
as torch itself, and processes that read chips or apply a network of another kind do without it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import segmentation_models_pytorch as smp

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Networks need torch, which is not installed. Install the extra: pip install 'slidecube[model]'.",
        name=error.name,
    ) from error

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_part_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for library in (path for folder in folders for path in Path(folder).glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")


def _declare_operators() -> torch.library.Library | None:
    if torch.version.cuda is not None or _compiled_part_loads():
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


_LIBRARY = _declare_operators()  # the schemas live as long as this object

__all__ = ["smp", "torch"]


def __getattr__(name: str) -> Any:
    if name != "smp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import segmentation_models_pytorch

    return segmentation_models_pytorch
