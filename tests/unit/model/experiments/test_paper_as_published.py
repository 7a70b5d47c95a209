"""The protocol paper does what the published code does, computed here anew with xarray and torch alone.

The calls are those of the code's data module (iprapas/landslide-sar-unet): the logarithm, the direction, slices by day,
means over passes, statistics of the scene, windows, the random split, and its loss and optimiser. `docs/published.md`
has the figures of a run against a fetched copy of the code itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from model.experiments import paper
from model.experiments.prepared_trial import prepare
from model.experiments.results.results import Trial, TrialTask
from model.experiments.trial_runs import run_trial
from model.inputs.inputs import Inputs
from model.network.paper_training import PaperChips, train_as_published
from model.network.torch_guard import smp, torch
from model.network.training_plan import NetworkSpec, PaperPlan, PaperSwitches
from pipeline.cube.export.published_form import write_published
from pipeline.cube.read import open_cube
from pipeline.errors import ModelError
from tests.small_cube import small_cube, write

CHIP = 32
SPEC = NetworkSpec(
    architecture="unetplusplus",
    encoder="resnet18",
    encoder_depth=3,
    decoder_channels=(16, 8, 4),
    in_channels=1,
    classes=2,
)
NAMES = (
    "vv_before",
    "vv_after",
    "vh_before",
    "vh_after",
    "dem",
    "dem_slope_radians",
    "dem_aspect",
    "dem_curvature",
)
INPUTS = Inputs(terrain=("dem", "slope", "aspect", "curvature"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube in the published form: no value is 0, VH alone lacks a block, chips in the middle hold no landslide."""
    folder = tmp_path_factory.mktemp("published")
    cube = small_cube(256, before=5, after=4)
    cube = cube.assign({name: cube[name].where(cube[name] > 0) for name in ("vv", "vh")})
    vh, labels = cube.vh.copy(), cube.landslides.copy()
    vh[:, 70:90, 60:100] = np.nan
    labels[:, 100:170] = 0
    whole = cube.assign(vh=vh, landslides=labels)
    write_published(
        open_cube(write(whole, folder / "cube.zarr")),
        folder / "hokkaido_japan.zarr",
        background="nan",
        bare=True,
    )
    return folder / "hokkaido_japan.zarr"


@dataclass
class Chips:
    """The chips of one split, standardised."""

    corners: list[tuple[float, float]]
    inputs: np.ndarray
    targets: np.ndarray


def as_the_code_does(path: Path, passes: int) -> tuple[dict[str, Chips], np.ndarray, np.ndarray]:
    """Chips of each split, means and standard deviations of the channels."""
    cube = xr.open_zarr(path).load()
    cube = cube.assign({name: np.log(cube[name]) for name in ("vv", "vh")})
    cube = cube.where(cube["sat:orbit_state"] == "d", drop=True).drop_dims("timepair")
    before, after = cube.sel(timestep=slice(None, "20180905")), cube.sel(timestep=slice("20180907", None))
    if passes < before.sizes["timestep"]:
        before = before.isel(timestep=range(-1 - passes, -1))
    if passes < after.sizes["timestep"]:
        after = after.isel(timestep=range(passes))
    before, after = before.mean("timestep"), after.mean("timestep")
    for name in ("vv", "vh"):
        before[f"{name}_before"], before[f"{name}_after"] = before[name], after[name]
    stack = np.stack([before[name].values for name in NAMES])
    mean, sd = np.nanmean(stack, axis=(1, 2)), np.nanstd(stack, axis=(1, 2))
    labels = before["landslides"].values
    found = []
    for left in range(0, labels.shape[1], CHIP):
        for top in range(0, labels.shape[0], CHIP):
            window = (slice(top, top + CHIP), slice(left, left + CHIP))
            if np.nansum(labels[window]) > 0:
                scaled = (stack[(slice(None), *window)] - mean[:, None, None]) / sd[:, None, None]
                corner = (float(cube.y[top]), float(cube.x[left]))
                found.append((corner, np.nan_to_num(scaled, nan=0), np.nan_to_num(labels[window], nan=0) > 0))
    lengths = [int(0.7 * len(found)), int(0.2 * len(found))]
    lengths.append(len(found) - sum(lengths))
    parts = torch.utils.data.random_split(
        range(len(found)), lengths, generator=torch.Generator().manual_seed(42)
    )
    splits = {
        name: Chips(*zip(*(found[i] for i in part.indices), strict=True))
        for name, part in zip(("train", "validation", "test"), parts, strict=True)
    }  # fmt: skip
    return (
        {n: Chips(list(s.corners), np.stack(s.inputs), np.stack(s.targets)) for n, s in splits.items()},
        mean,
        sd,
    )


def as_we_do(path: Path, passes: int, scratch: Path, **switches: str):
    """The same of the protocol."""
    plan = PaperPlan(chip_px=CHIP, switches=PaperSwitches.model_validate(switches))
    inputs = INPUTS.model_copy(update={"before": passes, "after": passes})
    trial = Trial(label="x", inputs=inputs, network=SPEC, paper=plan, protocol="paper", seed=0)
    prepared = prepare(TrialTask(cube=str(path), trial=trial), scratch)
    split = paper.split_chips(paper.chips_of(prepared.scene.labels, CHIP))
    chosen, selection, _ = paper._selected(prepared.scene, paper.published_inputs(inputs, plan.switches))
    trial = trial.model_copy(update={"inputs": chosen})
    return prepared.scene, split, paper._Chips.of(prepared, trial, selection, split)


@pytest.mark.parametrize("passes", [1, 2, 3, 4, 9])
def test_chips_split_statistics_and_values_are_those_of_the_published_code(
    published: Path, tmp_path: Path, passes: int
) -> None:
    theirs, mean, sd = as_the_code_does(published, passes)
    scene, split, chips = as_we_do(published, passes, tmp_path)
    np.testing.assert_allclose(chips.statistics.mean, mean, atol=1e-6 * sd.max())
    np.testing.assert_allclose(chips.statistics.sd, sd, rtol=1e-6)
    assert chips.statistics.channels[:4] == NAMES[:4]
    for part, expected in theirs.items():
        boxes = split.boxes(part)
        corners = [(float(scene.dataset.y[b.top]), float(scene.dataset.x[b.left])) for b in boxes]
        assert corners == expected.corners, "the same chips in the same order"
        made = chips.read(boxes)
        np.testing.assert_allclose(made.inputs, expected.inputs, atol=1e-5)
        np.testing.assert_array_equal(made.targets > 0, expected.targets)
        assert made.known.all(), "every pixel enters the loss"
    assert sum(len(part.corners) for part in theirs.values()) < (256 // CHIP) ** 2, (
        "some chips hold no landslide"
    )


def test_corrected_a_pixel_without_an_input_is_neither_trained_on_nor_scored(
    published: Path, tmp_path: Path
) -> None:
    _, split, chips = as_we_do(published, 2, tmp_path, pixels_without_input="corrected")
    made = chips.read(split.train)
    left_out = ~made.known
    assert 0 < left_out.mean() < 0.1
    assert (made.inputs.transpose(0, 2, 3, 1)[left_out] == 0).all(), "0 in every channel"
    _, _, published_chips = as_we_do(published, 2, tmp_path)
    alone = published_chips.read(split.train).inputs.transpose(0, 2, 3, 1)[left_out]
    assert (alone != 0).any() and (alone == 0).any(), "as published each channel lacks its own values alone"


def test_the_switch_decides_which_pixels_are_scored(published: Path) -> None:
    pixels = {}
    for state in ("as published", "corrected"):
        plan = PaperPlan(chip_px=CHIP, switches=PaperSwitches.model_validate({"pixels_without_input": state}))
        trial = Trial(
            label="x", method="random", inputs=Inputs(before=1, after=1), paper=plan, protocol="paper", seed=0
        )
        result = run_trial(TrialTask(cube=str(published), trial=trial))
        assert result.switches["pixels_without_input"] == state
        pixels[state] = result.evaluation.scene.pixels
    theirs, _, _ = as_the_code_does(published, 1)
    assert pixels["as published"] == theirs["validation"].targets.size > pixels["corrected"]


def test_a_batch_of_one_chip_is_left_out_and_nothing_but_such_batches_is_named() -> None:
    inputs = np.random.default_rng(0).standard_normal((5, 4, CHIP, CHIP)).astype(np.float32)
    data = PaperChips(inputs, np.zeros((5, CHIP, CHIP), np.float32), np.ones((5, CHIP, CHIP), bool))
    spec = SPEC.model_copy(update={"in_channels": 4})
    seen: list[tuple[str, int, int | None]] = []
    made = train_as_published(
        spec,
        PaperPlan(epochs=2, batch=2, device="cpu"),
        0,
        data,
        lambda what, done, total=None, *_: seen.append((what, done, total)),
    )
    assert made.steps == 4 and len(made.losses) == 2 and not made.network.training
    assert seen == [("train", 1, 2), ("train", 2, 2)]
    one = PaperChips(data.inputs[:1], data.targets[:1], data.known[:1])
    with pytest.raises(ModelError):
        train_as_published(spec, PaperPlan(epochs=2, batch=2, device="cpu"), 0, one)
    data.inputs[:] = np.inf
    with pytest.raises(ModelError):
        train_as_published(spec, PaperPlan(epochs=2, batch=2, device="cpu"), 0, data)


def test_a_few_training_steps_give_the_losses_of_a_plain_loop(published: Path, tmp_path: Path) -> None:
    """The published step: cross entropy of two classes, Adam, from the same random weights; in double precision, since
    Adam's first steps turn a rounding error of a small gradient into a whole step."""
    _, split, chips = as_we_do(published, 2, tmp_path)
    data = chips.read(split.train[:6])
    data = replace(data, inputs=data.inputs.astype(np.float64), targets=data.targets.astype(np.float64))
    spec = SPEC.model_copy(update={"in_channels": 8})
    torch.set_default_dtype(torch.float64)
    try:
        made = train_as_published(spec, PaperPlan(epochs=4, batch=64, device="cpu"), 5, data)
        torch.manual_seed(5)
        network = smp.UnetPlusPlus(
            "resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(16, 8, 4), in_channels=8, classes=2
        )  # fmt: skip
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.0001)
        losses = []
        for _ in range(4):
            logits = network(torch.from_numpy(data.inputs))
            loss = torch.nn.CrossEntropyLoss()(logits, torch.from_numpy(data.targets).long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    finally:
        torch.set_default_dtype(torch.float32)
    assert losses[0] != pytest.approx(losses[-1], rel=0.05), "the steps move the loss"
    assert made.losses == pytest.approx(losses, rel=1e-6)
