"""A trained model as a folder that can be mailed; hostile until checked when it comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.bundle.card import model_card, precision_recall_picture, reliability_picture
from model.bundle.expected import BaselineScore, EventScore, ExpectedScore, in_short
from model.bundle.mlm import ITEM, item_of
from model.inputs.channels import Statistics
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.network.network import build
from model.network.torch_guard import torch
from model.network.training_plan import Check, NetworkSpec, TestTime, TrainingPlan
from model.scores.probability_calibration import Calibration, CaseCalibration
from model.scores.scores import Scores
from model.split.split import Split
from model.training.training_events import LearntEvent
from pipeline.errors import ModelError
from pipeline.files import whole_folder
from pipeline.records import Frozen, Utc

DOCUMENT, WEIGHTS, CARD = "bundle.json", "weights.safetensors", "MODEL_CARD.md"
CURVE, RELIABILITY = "pr_curve.png", "reliability.png"
FORMAT, EARLIER = "slidecube-bundle-2", ("slidecube-bundle-1",)
LARGEST_DOCUMENT_BYTES = 4 << 20
SOFTWARE = ("slidecube", "torch", "segmentation-models-pytorch", "numpy", "xarray", "zarr", "safetensors")

Digest = Field(pattern=r"^[0-9a-f]{64}$")


class BundleDocument(Frozen):
    """Everything about a model but its weights: `bundle.json`."""

    format: Literal["slidecube-bundle-2"] = "slidecube-bundle-2"
    digest: str = Digest
    weights_sha256: str = Digest
    inputs: Inputs
    network: NetworkSpec
    members: int = Field(1, ge=1, le=20, description="networks of one kind, whose mean log-odds is taken")
    parameters: int = Field(ge=1, description="of all members")
    statistics: Statistics
    training: TrainingPlan
    cases: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, max_length=64, description="numbers of passes after the event that it was trained on"
    )
    test_time: TestTime
    notes: tuple[str, ...] = Field((), description="what the cube lacked for better inputs")
    seed: int = Field(description="of the first member")
    split: Split = Field(description="of the first event, as are grid, cube, selection and statistics")
    grid: Georeference | None = Field(description="lattice that the split's pixels belong to")
    cube: CubeFacts
    selection: Selection
    others: tuple[LearntEvent, ...] = Field(
        (), max_length=30, description="further events that it was trained on"
    )
    history: tuple[Check, ...] = Field(description="of the first member")
    best_step: int = Field(description="of the first member")
    validation: Scores = Field(
        description="at its own best threshold, which maps use; over the validation areas of all events together"
    )
    test: Scores = Field(
        description="at the threshold chosen on the validation areas; of all events together"
    )
    events: tuple[EventScore, ...] = Field(
        (), max_length=31, description="test area by test area, where there are several events"
    )
    baselines: tuple[BaselineScore, ...] = Field(
        (), max_length=62, description="methods without a network, test area by test area"
    )
    calibration: Calibration = Field(description="with all passes")
    by_passes: tuple[CaseCalibration, ...] = Field(
        (), max_length=8, description="with fewer passes after the event"
    )
    expected: tuple[ExpectedScore, ...] = Field(description="scores on the test area by number of passes")
    device: str
    software: dict[str, str]
    created: Utc

    @model_validator(mode="after")
    def _one_model(self) -> BundleDocument:
        if self.statistics.channels != self.inputs.channels:
            raise ValueError("the statistics are of other channels than the inputs")
        if any(one.statistics.channels != self.inputs.channels for one in self.others):
            raise ValueError("the statistics of another event are of other channels than the inputs")
        if self.network.in_channels != len(self.inputs.channels):
            raise ValueError("the network has another number of channels than the inputs")
        return self

    @property
    def learnt(self) -> tuple[LearntEvent, ...]:
        """Every event that it was trained on."""
        first = LearntEvent(
            cube=self.cube,
            grid=self.grid,
            split=self.split,
            selection=self.selection,
            statistics=self.statistics,
        )
        return (first, *self.others)

    @property
    def simulated(self) -> bool:
        """Whether any of these events is a simulation."""
        return any(one.cube.simulated for one in self.learnt)

    @property
    def place(self) -> str:
        """The areas, as a title names them."""
        return in_short([one.cube.area for one in self.learnt])

    @property
    def threshold(self) -> float:
        """Calibrated probability from which on a pixel is mapped, chosen on the validation area with all passes."""
        return self.validation.threshold

    def calibrated_for(self, after: int) -> CaseCalibration:
        """The calibration and threshold of the nearest number of passes after the event that there are some for."""
        every = CaseCalibration(
            after=len(self.selection.after), calibration=self.calibration, threshold=self.threshold
        )
        return min((*self.by_passes, every), key=lambda case: (abs(case.after - after), case.after))

    @property
    def identity(self) -> str:
        """sha256 of what decides a prediction: inputs, statistics, network, weights, views, calibration, threshold."""
        parts = {
            "inputs": self.inputs.model_dump(mode="json"),
            "statistics": self.statistics.model_dump(mode="json"),
            "network": self.network.model_dump(mode="json"),
            "weights": self.weights_sha256,
            "test_time": self.test_time,
            "calibration": [self.calibration.slope, self.calibration.intercept],
            "threshold": self.threshold,
        }
        if self.by_passes:
            parts["by_passes"] = [
                [case.after, case.calibration.slope, case.calibration.intercept, case.threshold]
                for case in self.by_passes
            ]
        if self.others:
            parts["others"] = [one.statistics.model_dump(mode="json") for one in self.others]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ModelBundle:
    """A model ready to predict."""

    document: BundleDocument
    networks: tuple[torch.nn.Module, ...]

    @property
    def warning(self) -> str:
        """What must stand on everything that is made with the model; empty if nothing."""
        if self.document.simulated:
            return (
                "The model was trained on a SIMULATED area: it knows no real landslide and must not guide "
                "decisions in the field."
            )
        return ""


def weights_of(networks: Sequence[torch.nn.Module]) -> bytes:
    """The weights of all members as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _together(networks).items()}
    return bytes(save_tensors(tensors))


def _together(networks: Sequence[torch.nn.Module]) -> dict[str, torch.Tensor]:
    """The weights by name; with several members after the member's number, as in `1.encoder.conv1.weight`."""
    if len(networks) == 1:
        return dict(networks[0].state_dict())
    return {
        f"{number}.{name}": value
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }


def sealed(weights: bytes, **fields: Any) -> BundleDocument:
    """The document of a model that was just trained: its fields, its digests, versions and the time."""
    draft = BundleDocument(
        digest="0" * 64,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        software=software(),
        created=datetime.now(UTC).replace(microsecond=0),
        **fields,
    )
    return draft.model_copy(update={"digest": draft.identity})


def software() -> dict[str, str]:
    """Versions of what trained the model."""
    found = {"python": python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def save(document: BundleDocument, weights: bytes, target: Path) -> None:
    """Write the folder, whole or not at all.

    Raises:
        ModelError: something else is at `target`.
    """
    with whole_folder(target, DOCUMENT) as folder:
        (folder / WEIGHTS).write_bytes(weights)
        (folder / DOCUMENT).write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(document), encoding="utf-8")
        (folder / ITEM).write_text(
            json.dumps(item_of(document, WEIGHTS, CARD), indent=1) + "\n", encoding="utf-8"
        )
        precision_recall_picture(document, folder / CURVE)
        reliability_picture(document, folder / RELIABILITY)


def load(folder: Path) -> ModelBundle:
    """A bundle from a folder that anybody may have made. Nothing in it is executed.

    Raises:
        ModelError: a file is missing, too large, damaged, or of another model; it names the file.
    """
    document = read_document(folder)
    networks = tuple(build(document.network, pretrained=False) for _ in range(document.members))
    expected = _together(networks)
    size = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    raw = _read(folder / WEIGHTS, size + (1 << 20))
    if hashlib.sha256(raw).hexdigest() != document.weights_sha256:
        raise _damaged(folder / WEIGHTS, f"its sha256 is not the one in {DOCUMENT}")
    try:
        tensors = load_tensors(raw)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / WEIGHTS, f"it is no safetensors file ({error})") from error
    if set(tensors) != set(expected):
        odd = sorted(set(tensors) ^ set(expected))
        raise _damaged(folder / WEIGHTS, f"its tensors are not the network's ({', '.join(odd[:3])}, ...)")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise _damaged(folder / WEIGHTS, f"{name} is {tuple(tensor.shape)} of {tensor.dtype}")
        if not bool(torch.isfinite(tensor.double()).all()):
            raise _damaged(folder / WEIGHTS, f"{name} holds a value that is not finite")
    for number, network in enumerate(networks):
        prefix = f"{number}." if len(networks) > 1 else ""
        network.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        network.eval()
    return ModelBundle(document, networks)


def read_document(folder: Path) -> BundleDocument:
    """`bundle.json`, checked.

    Raises:
        ModelError: it is missing, too large, malformed, or was changed.
    """
    file = folder / DOCUMENT
    raw = _read(file, LARGEST_DOCUMENT_BYTES)
    try:
        document = BundleDocument.model_validate_json(raw)
    except ValidationError as error:
        for problem in error.errors():
            if problem["loc"] == ("format",) and problem["input"] in EARLIER:
                raise ModelError(
                    f"{file} is of the format {problem['input']}; this version reads {FORMAT}, whose inputs say more.",
                    "Train the model again with `slidecube train`.",
                ) from error
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise _damaged(file, f"{where}: {first['msg']}") from error
    if document.identity != document.digest:
        raise _damaged(file, "its content does not have the digest that it states")
    return document


def _read(file: Path, limit_bytes: int) -> bytes:
    try:
        if not file.is_file():
            raise ModelError(
                f"{file} is missing or no regular file.",
                "Give the folder of a bundle that `slidecube train` made.",
            )
        with file.open("rb") as stream:
            raw = stream.read(limit_bytes + 1)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}).") from error
    if len(raw) > limit_bytes:
        raise _damaged(file, f"it is larger than {limit_bytes} bytes")
    return raw


def _damaged(file: Path, why: str) -> ModelError:
    return ModelError(f"{file} cannot be used: {why}.", "Get the bundle again from where it was made.")
