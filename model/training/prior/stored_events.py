"""Events of a prior on the disk: channels computed once, as float16 arrays that are mapped into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from model.detector.land import OverLand
from model.experiments.left_out_events import TrainingOnly
from model.inputs import cubes
from model.inputs.channel import Array, Mask
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics
from model.inputs.channels.terrain_channels import SLOPE_IF_KNOWN
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import ViewPasses, limit_passes, passes_by_view
from model.inputs.selection import select
from model.inputs.windows import Box, whole
from model.network.training_plan import Case
from model.split.chips import window_sums
from pipeline.files import read_regular, whole_folder
from pipeline.records import Frozen, digest_of_json

if TYPE_CHECKING:
    from model.network.training_scene import Scene

INPUTS = Inputs.model_validate(
    {"terrain": (), "change": ("log_ratio",), "track": "both", "views": "any", "further": SLOPE_IF_KNOWN}
)
"""what a first-night map has everywhere: VV and VH of any views and passes; the slope where a cube has it"""
CASES = (Case(after=1), Case(before=4, after=2), Case())
"""numbers of passes that a prior is trained on in turn"""
VALIDATION_PX, BUFFER_PX = 96, 16
"""side of the square of each event that is kept for validation, and what is cut from training around it"""
DOCUMENT, LABELS = "event.json", "labels.npy"
LARGEST_DOCUMENT_BYTES = 1 << 20


class StoredEvent(Frozen):
    """What the folder of one event records beside its arrays."""

    format: int = 1
    name: str
    land: str
    seed: int
    pixel_m: float
    simulated_event: str = Field(description="JSON of the parameters of the simulation")
    inputs: Inputs
    cases: tuple[tuple[ViewPasses, ...], ...] = Field(description="passes of each stored array")
    statistics: Statistics = Field(description="over land, with all passes; no label is read")
    validation: Box | None = Field(description="None: no landslide counts, and the event is not used")
    landslide_share: float


@dataclass(frozen=True)
class SimulatedEvent:
    """An event to be stored: its cube is made when it is needed."""

    name: str
    land: str
    seed: int
    cube: Callable[[], xr.Dataset]


class StoredChannels:
    """Channels in a file of float16 that is mapped into memory. Satisfies `model.inputs.channel_source.ChannelSource`.

    Args:
        hidden: channels that are 0, as where a cube does not have what they need.
    """

    def __init__(self, file: Path, hidden: tuple[int, ...] = ()) -> None:
        self._values: NDArray[np.float16] = np.load(file, mmap_mode="r")
        self._hidden = list(hidden)
        self.shape: tuple[int, int] = (self._values.shape[1], self._values.shape[2])

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32, as `CubeChannels.read`; to the precision of float16, 0.001 nepers."""
        rows, columns = box.slices
        values = np.asarray(self._values[:, rows, columns], dtype=np.float32)
        for index in self._hidden:
            values[index][np.isfinite(values[0])] = 0.0
        return values

    def usable(self) -> Mask:
        """(y, x) whether a pixel has every channel that it may not lack."""
        mask: Mask = np.isfinite(self._values[0])
        return mask


def stored(event: SimulatedEvent, folder: Path) -> StoredEvent:
    """The event's record in `folder/NAME`; it is simulated and its channels are computed unless they are there.

    Raises:
        ModelError: the folder holds something else.
        DiskError: it cannot be written.
    """
    target = folder / event.name
    if (found := _read(target)) is not None:
        return found
    dataset = cubes.prepared(event.cube())
    full = select(dataset, INPUTS)
    selections = [limit_passes(full, case.before, case.after) for case in CASES]
    labels = cubes.labels(dataset)
    with whole_folder(target, DOCUMENT) as made:
        for number, selection in enumerate(selections):
            values = CubeChannels(dataset, INPUTS, selection).read(whole(labels.shape))
            np.save(made / f"case-{number}.npy", values.astype(np.float16))
        np.save(made / LABELS, labels)
        channels = StoredChannels(made / f"case-{len(CASES) - 1}.npy")
        usable = channels.usable()
        record = StoredEvent(
            name=event.name,
            land=event.land,
            seed=event.seed,
            pixel_m=cubes.pixel_m(dataset)[0],
            simulated_event=str(dataset.attrs.get("simulated_event", "")),
            inputs=INPUTS,
            cases=tuple(passes_by_view(selection) for selection in selections),
            statistics=statistics_over_land(channels, dataset),
            validation=_validation(labels, usable),
            landslide_share=float((labels[usable] == 1).mean()),
        )
        (made / DOCUMENT).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return record


def statistics_over_land(channels: ChannelSource, cube: xr.Dataset) -> Statistics:
    """The statistics of a scene's own inputs, as a map of another scene than the training set has them."""
    land = OverLand(channels, INPUTS.channels, cube)
    return Statistics.of(land, INPUTS.channels, (whole(channels.shape),))


def is_stored(event: SimulatedEvent, folder: Path) -> bool:
    """Whether the folder has the event, whole."""
    return _read(folder / event.name) is not None


def training_scenes(record: StoredEvent, folder: Path, number: int) -> list[Scene]:
    """The scenes of a stored event, one for each case; in one of them, in turn by the event's number, no slope is
    known."""
    from model.network.training_scene import Scene

    if record.validation is None:
        return []
    labels = np.array(np.load(folder / record.name / LABELS, mmap_mode="r"))
    parts = TrainingOnly(record.validation, BUFFER_PX)
    scenes = []
    for case in range(len(record.cases)):
        hidden = _slope_channels() if case == number % len(record.cases) else ()
        channels = StoredChannels(folder / record.name / f"case-{case}.npy", hidden)
        scenes.append(Scene(channels, labels, channels.usable(), parts, record.statistics))
    return scenes


def _slope_channels() -> tuple[int, ...]:
    return tuple(INPUTS.channels.index(name) for name in SLOPE_IF_KNOWN)


def _read(folder: Path) -> StoredEvent | None:
    """The record of an event that is there; None: there is none, or it is of other inputs or an earlier format."""
    try:
        raw = read_regular(folder / DOCUMENT, LARGEST_DOCUMENT_BYTES)
        found = StoredEvent.model_validate_json(raw)
    except (OSError, ValidationError):
        return None
    same = found.inputs == INPUTS and len(found.cases) == len(CASES) and found.format == 1
    return found if same else None


def _validation(labels: NDArray[np.uint8], usable: Mask) -> Box | None:
    """The square whose share of landslides is nearest to the event's own, above 0; and outside of it some are left."""
    size, step = VALIDATION_PX, VALIDATION_PX // 2
    slid = (labels == 1) & usable
    if min(labels.shape) < 2 * size or not slid.any():
        return None
    inside = window_sums(slid, size)[::step, ::step]
    reach = size + 2 * BUFFER_PX
    around = np.pad(window_sums(np.pad(slid, BUFFER_PX), reach), 0)[::step, ::step]
    possible = (inside > 0) & (around < slid.sum())
    if not possible.any():
        return None
    wanted = slid.sum() / slid.size * size * size
    miss = np.where(possible, np.abs(np.log(np.maximum(inside, 1) / wanted)), np.inf)
    row, column = np.unravel_index(int(miss.argmin()), miss.shape)
    return Box(top=int(row) * step, left=int(column) * step, height=size, width=size)


def digest_of_cube(name: str, cube: xr.Dataset) -> str:
    """sha256 of what determines a simulated cube."""
    return digest_of_json(
        {
            "name": name,
            "event": str(cube.attrs.get("simulated_event", "")),
            "shape": [cube.sizes["y"], cube.sizes["x"]],
        }
    )
