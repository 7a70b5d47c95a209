"""Chips of a fold as a torch dataset: torchgeo's keys, no leak, every tested pixel once, the same with workers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import slidecube
from model.experiments.prepared_trial import prepare
from model.experiments.results.results import Trial, TrialTask
from model.experiments.strict import fold_of
from model.inputs.channel_statistics import Statistics
from model.inputs.inputs import Inputs
from model.inputs.windows import whole
from model.network.chips.chip_dataset import ChipDataset
from model.network.torch_guard import torch
from model.split.folds import FoldPlan
from model.split.leakage import MaskedChannels
from pipeline.errors import CubeError, ModelError
from tests.small_cube import BORDER_PX, small_cube, write

DataLoader = torch.utils.data.DataLoader
INPUTS = Inputs(terrain=("slope", "aspect"), change=("log_ratio",))


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return small_cube(256)


@pytest.fixture(scope="module")
def chips(cube) -> ChipDataset:
    return ChipDataset(cube, INPUTS, chip=32)


def test_a_sample_has_torchgeos_keys_types_and_place(chips, cube):
    sample = chips[3]
    box = chips.boxes[3]
    assert sorted(sample) == ["bounds", "crs", "image", "mask", "transform"]
    assert sample["image"].dtype == torch.float32 and tuple(sample["image"].shape) == (
        len(INPUTS.channels),
        32,
        32,
    )
    assert sample["mask"].dtype == torch.int64 and tuple(sample["mask"].shape) == (32, 32)
    assert sample["crs"] == chips.crs == "EPSG:32654"
    x, y = cube.x.values[box.left : box.right], cube.y.values[box.top : box.bottom]
    expected = [x[0] - 5, x[-1] + 5, 10, y[-1] - 5, y[0] + 5, 10]
    assert sample["bounds"][:6].tolist() == expected
    assert sample["transform"].tolist() == [10, 0, x[0] - 5, 0, -10, y[0] + 5]
    first, last = sample["bounds"][6:8].tolist()
    assert first < last < cube.timestep.values.max().astype("datetime64[s]").astype(float) + 1


def test_the_mask_is_that_of_the_cube_and_255_where_nothing_may_be_learnt(chips, cube):
    labels = cube.landslides.values
    seen = set()
    for index in range(len(chips)):
        mask, box = chips[index]["mask"].numpy(), chips.boxes[index]
        known = mask != 255
        seen |= set(np.unique(mask))
        assert (mask[known] == labels[box.slices][known]).all()
        train = chips.fold.train_mask((256, 256))[box.slices]
        assert not known[~train].any() and not known[:, np.arange(box.left, box.right) < BORDER_PX].any()
    assert seen == {0, 1, 255}


def test_the_folds_are_those_of_the_protocol_strict(chips, tmp_path):
    path = str(write(small_cube(256), tmp_path / "small.zarr"))
    trial = Trial(label="", method="random", inputs=INPUTS, protocol="strict", seed=0, fold=0)
    prepared = prepare(TrialTask(cube=path, trial=trial), tmp_path)
    assert chips.fold == fold_of(prepared.scene, FoldPlan(), 0)
    by_path = ChipDataset(path, INPUTS, chip=32)
    assert torch.equal(by_path[5]["image"], chips[5]["image"])


def test_statistics_are_of_the_training_part_alone(chips):
    watched = MaskedChannels(chips._scene.channels, chips.fold.train_mask((256, 256)))
    assert chips.statistics == Statistics.of(watched, INPUTS.channels, (whole((256, 256)),))
    everything = Statistics.of(chips._scene.channels, INPUTS.channels, (whole((256, 256)),))
    assert chips.statistics.mean != everything.mean


@pytest.mark.parametrize("size", [32, 50, 160])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_every_pixel_of_a_tested_rectangle_counts_once(chips, part, size):
    other = ChipDataset(small_cube(256), INPUTS, part, chip=size)
    count = np.zeros((256, 256), dtype=int)
    for index, box in enumerate(other.boxes):
        count[box.slices] += other[index]["mask"].numpy() != 255
    (area,) = other.fold.boxes(part)
    expected = np.zeros((256, 256), dtype=int)
    expected[area.slices] = other._scene.usable[area.slices]
    assert (count == expected).all()


def test_workers_read_the_same_chips_as_the_training_process(chips):
    def batches(workers: int, context: str | None = None) -> list[dict[str, object]]:
        loader = DataLoader(chips, batch_size=16, num_workers=workers, multiprocessing_context=context)
        return list(loader)

    alone, started = batches(0), batches(2, "spawn")  # a fork beside other threads is not safe
    assert len(alone) == len(started) == -(-len(chips) // 16)
    for one, two in zip(alone, started, strict=True):
        assert torch.equal(one["image"], two["image"]) and torch.equal(one["mask"], two["mask"])
        assert one["crs"] == two["crs"] == ["EPSG:32654"] * len(one["mask"])


def test_workers_that_are_started_anew_read_them_too(chips):
    loader = DataLoader(chips, batch_size=64, num_workers=1, multiprocessing_context="spawn")
    first = next(iter(loader))
    assert torch.equal(first["image"][7], chips[7]["image"])


def drawn(chips: ChipDataset, workers: int, seed: int, epochs: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        torch.utils.data.Subset(chips, [0] * 8),
        num_workers=workers,
        generator=generator,
        batch_size=1,
        multiprocessing_context="spawn" if workers else None,
    )
    return [batch["image"] for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_random_changes_are_repeated_by_the_seeds_and_differ_among_workers_and_epochs(cube, workers):
    def images(seed: int, epochs: int) -> list[torch.Tensor]:
        chips = ChipDataset(cube, INPUTS, chip=32, augment=True, seed=seed)
        return drawn(chips, workers, seed, epochs)

    one = images(1, 2)
    assert len({image.sum().item() for image in one}) == len(one)  # no draw twice
    assert all(
        torch.equal(a, b) for a, b in zip(one, images(1, 1), strict=False)
    )  # each worker's start takes seconds
    if not workers:
        assert not any(torch.equal(a, b) for a, b in zip(one, images(2, 2), strict=True))


def test_an_augmented_chip_holds_no_tested_pixel_and_a_mirrored_mask_fits_its_image(cube):
    chips = ChipDataset(cube, Inputs(backscatter=("vv",), terrain=()), chip=32, augment=True)
    bright, counted = [], 0
    for index in range(len(chips)):
        sample = chips[index]
        slid = sample["mask"] == 1
        if slid.any():
            bright.append(float((sample["image"][1] - sample["image"][0])[slid].mean()))
        counted += int((sample["mask"] != 255).sum())
    assert min(bright) > 0.3 and counted > 0  # VV rises by 5 dB where the mask is 1


def test_weights_draw_the_share_that_is_asked_for(chips):
    weights = chips.weights(0.7)
    held = torch.tensor([bool((chips[i]["mask"] == 1).any()) for i in range(len(chips))])
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[held].sum()) == pytest.approx(0.7 if (~held).any() else 1)


def test_transforms_see_every_sample_and_parts_share_one_copy(cube):
    chips = ChipDataset(cube, INPUTS, chip=32, transforms=lambda sample: {**sample, "seen": True})
    other = chips.of_part("test")
    assert chips[0]["seen"] and other[0]["seen"] and other._scene is chips._scene
    assert chips.part == "train" and other.part == "test"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"part": "val"}, ModelError),
        ({"fold": 9}, ModelError),
        ({"chip": 400}, ModelError),
        ({"chip": 0}, ModelError),
        ({"inputs": Inputs(coherence=("loss",))}, ModelError),
    ],
)
def test_wrong_arguments_are_named(cube, more, error):
    with pytest.raises(error):
        ChipDataset(cube, **more)


def test_a_cube_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CubeError):
        ChipDataset(tmp_path / "nothing.zarr")


@pytest.mark.filterwarnings("ignore")  # those of Lightning itself
def test_a_trainer_of_lightning_takes_the_data_module(cube, tmp_path):
    base = next(one for one in slidecube.ChipDataModule.__mro__ if one.__name__ == "LightningDataModule")
    pytorch = importlib.import_module(
        base.__module__.split(".core")[0]
    )  # of `lightning` or `pytorch_lightning`

    class Task(pytorch.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(len(INPUTS.channels), 2, 1)
            self.seen: list[int] = []

        def training_step(self, batch, _):
            return torch.nn.functional.cross_entropy(
                self.layer(batch["image"]), batch["mask"], ignore_index=255
            )

        def validation_step(self, batch, _):
            self.seen.append(int((batch["mask"] != 255).sum()))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    task, module = Task(), slidecube.ChipDataModule(cube, INPUTS, chip=32, batch=8)
    trainer = pytorch.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(task, module)
    held = module.chips("validation")
    (area,) = held.fold.boxes("validation")
    assert sum(task.seen) == int(held._scene.usable[area.slices].sum())
    assert trainer.global_step == len(module.chips("train")) // 8


def test_torch_is_imported_when_the_dataset_is_touched_and_lightning_is_not():
    code = """
import sys, slidecube
from click.testing import CliRunner
from model.cli.bundles import train
assert CliRunner().invoke(train, ["--help"]).exit_code == 0
print("torch" in sys.modules, end=" ")
slidecube.ChipDataset, __import__("model.network.training")
print(*(name in sys.modules for name in ("torch", "pytorch_lightning", "torchvision", "timm")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False", "False", "False"], done.stderr
