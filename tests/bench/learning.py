"""The learning stage and plain PyTorch or xbatcher: seconds a step, chips a second, seconds and memory of a map.

`python -m tests.bench learning`, or one part of it: `python -m tests.bench.learning step loader map`.

- step: training as slidecube does it (chips cut, standardised, masked, augmented; gradients cut; mean of weights where
  the recipe asks, by Lightning's trainer) against a bare loop that does the same, and against one of the same network,
  optimiser and batch over tensors in memory. In turns, medians; BENCH_CLOCK=process counts processor seconds.
- loader: chips of 128 pixels from a cube with the layout of this project (shards of 2048, chunks of 256, zstd) through
  slidecube, with the scratch copy that training reads and without, and through xbatcher (if it is installed).
- map: a child process predicts a cube of BENCH_LEARNING_MAP (4398x5382) pixels from Zarr with a small network; the peak
  of its memory, and of one that has only opened the cube and built the network.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model.experiments.recipes import SCREENING
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import load
from model.inputs.inputs import Inputs
from model.inputs.selection import select
from model.inputs.windows import Box, whole
from model.network.training_plan import InferencePlan, NetworkSpec, TrainingPlan
from model.split.chips import batch_of
from model.split.split import Split
from tests.small_cube import small_cube

MAP = os.environ.get("BENCH_LEARNING_MAP", "4398x5382")
STEPS = int(os.environ.get("BENCH_LEARNING_STEPS", "5"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CLOCK = time.process_time if os.environ.get("BENCH_CLOCK") == "process" else time.perf_counter
LOADER_SIDE = 2048
CHIP = 128
PIXEL_KM2 = 1e-4

CONTESTANTS: dict[str, tuple[NetworkSpec, TrainingPlan]] = {
    "paper's network, 8 chips of 128": (
        NetworkSpec(
            architecture="unetplusplus",
            encoder="resnet50",
            classes=2,
            in_channels=4,
            initial_weights="random",
        ),
        TrainingPlan(optimiser="adam", sampling="fixed chips", dice_weight=0.0, batch=8, steps=STEPS + 1),
    ),
    "default (ResNet-18 U-Net), 8 chips of 128": (
        NetworkSpec(in_channels=9),
        TrainingPlan(steps=4 * STEPS + 1, augmentation=("mirror along track", "gain"), ema_decay=0.98),
    ),
    "screening network, 8 chips of 64": (
        SCREENING.model_copy(update={"in_channels": 9}),
        TrainingPlan(
            chip_px=64,
            stride_px=32,
            steps=12 * STEPS + 1,
            augmentation=("mirror along track", "gain"),
            ema_decay=0.98,
        ),
    ),
}


def main() -> None:
    """Every part."""
    with tempfile.TemporaryDirectory(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        step(Path(folder))
        loader(Path(folder))
        map_(Path(folder))


def step(folder: Path) -> None:
    """Seconds a training step: ours, the same in a bare loop, and plain, in turns."""
    import torch

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    print(f"{'seconds a step':44}{'slidecube':>11}{'bare':>9}{'ratio':>8}{'plain':>9}{'ratio':>8}")
    for name, (spec, plan) in CONTESTANTS.items():
        pairs = []
        for number in range(ROUNDS):
            pairs.append((_ours(spec, plan, folder), _bare(spec, plan, folder), _plain(spec, plan)))
            print(
                f"  round {number + 1} of {ROUNDS}: {', '.join(f'{one:.3f}' for one in pairs[-1])} s a step",
                flush=True,
            )
        ours, bare, plain = (float(np.median([pair[i] for pair in pairs])) for i in range(3))
        ratios = [float(np.median([pair[0] / pair[i] for pair in pairs])) for i in (1, 2)]
        print(f"{name:44}{ours:11.3f}{bare:9.3f}{ratios[0]:8.3f}{plain:9.3f}{ratios[1]:8.3f}", flush=True)


class _Made:
    """Channels without a cube."""

    def __init__(self, channels: int, shape: tuple[int, int]) -> None:
        self.shape, self._channels = shape, channels

    def read(self, box: Box) -> np.ndarray:
        rng = np.random.default_rng(box.top * 10_007 + box.left)
        return rng.standard_normal((self._channels, box.height, box.width), dtype=np.float32)


def _scene(spec: NetworkSpec, folder: Path) -> Any:
    from model.network.training_scene import Scene

    shape = (1024, 1024)
    channels = ScratchChannels(_Made(spec.in_channels, shape), spec.in_channels, folder)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[::40, ::24] = 1
    split = Split(
        train=(Box(top=0, left=0, height=864, width=1024),),
        validation=(Box(top=896, left=0, height=64, width=64),),
        test=(Box(top=896, left=128, height=64, width=64),),
        buffer_px=32,
    )
    names = (
        "vv_before",
        "vv_after",
        "vh_before",
        "vh_after",
        "dem",
        "slope",
        "aspect_sin",
        "aspect_cos",
        "curvature",
    )
    statistics = Statistics.of(channels, names[: spec.in_channels], split.train)
    return Scene(channels, labels, channels.usable(), split, statistics)


def _ours(spec: NetworkSpec, plan: TrainingPlan, folder: Path) -> float:
    """Median seconds between two steps; the first, and the look at the validation area, are not counted."""
    from model.network.training import train

    at: list[float] = []
    plan = plan.model_copy(update={"validate_every": plan.steps, "device": "cpu"})
    train(_scene(spec, folder), spec, plan, 0, lambda *_: at.append(CLOCK()))
    return float(np.median(np.diff(at)))


def _bare(spec: NetworkSpec, plan: TrainingPlan, folder: Path) -> float:
    """What `_ours` does, in a loop without a trainer."""
    import torch

    from model.network.batches import Batches
    from model.network.network import build, log_odds
    from model.network.parts.losses import masked_loss
    from model.network.training_plan import LARGEST_NORM

    torch.manual_seed(0)
    network = build(spec).train()
    kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    mean = None
    if plan.ema_decay is not None:
        averaged = torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema_decay)
        mean = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=averaged, use_buffers=True)
    batches = Batches((_scene(spec, folder),), plan, np.random.default_rng(0), torch.device("cpu"))
    at = []
    for inputs, targets, masks in batches.take(plan.steps):
        loss = masked_loss(log_odds(network(inputs)), targets, masks, plan.dice_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_NORM)
        optimiser.step()
        if mean is not None:
            mean.update_parameters(network)
        loss.item()
        at.append(CLOCK())
    return float(np.median(np.diff(at)))


def _plain(spec: NetworkSpec, plan: TrainingPlan) -> float:
    """The loop that one writes: the same network and optimiser, tensors in memory, no mask, nothing judged."""
    import torch

    from model.network.network import build

    torch.manual_seed(0)
    network = build(spec).train()
    kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(network.parameters(), lr=1e-4)
    side = plan.chip_px
    batches = [
        (
            torch.randn(plan.batch, spec.in_channels, side, side).to(memory_format=torch.channels_last),
            (torch.rand(plan.batch, side, side) < 0.02).long(),
        )
        for _ in range(4)
    ]
    at = []
    for number in range(plan.steps):
        inputs, target = batches[number % 4]
        output = network(inputs)
        loss = (
            torch.nn.functional.cross_entropy(output, target)
            if spec.classes == 2
            else torch.nn.functional.binary_cross_entropy_with_logits(output[:, 0], target.float())
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()
        at.append(CLOCK())
    return float(np.median(np.diff(at)))


def loader(folder: Path) -> None:
    """Chips a second from a cube."""
    path = _cube(folder / "loader.zarr", (LOADER_SIDE, LOADER_SIDE), before=4, after=4)
    inputs = Inputs(track=46, terrain=("dem", "slope", "aspect", "curvature"))
    dataset, _ = load(str(path))
    selection = select(dataset, inputs)
    direct = CubeChannels(dataset, inputs, selection)
    began = time.perf_counter()
    scratch = ScratchChannels(direct, len(inputs.channels), folder)
    copied = time.perf_counter() - began
    statistics = Statistics.of(
        scratch, inputs.channels, (Box(top=0, left=0, height=LOADER_SIDE, width=LOADER_SIDE),)
    )
    labels = np.zeros(direct.shape, dtype=np.uint8)
    counted = np.ones(direct.shape, dtype=bool)
    rng = np.random.default_rng(0)

    def random_boxes(count: int) -> list[Box]:
        corners = rng.integers(0, LOADER_SIDE - CHIP, (count, 2))
        return [Box(top=int(top), left=int(left), height=CHIP, width=CHIP) for top, left in corners]

    def ours(source: Any) -> Callable[[int], int]:
        def take(count: int) -> int:
            return len(batch_of(random_boxes(count), source, labels, statistics, counted)[0])

        return take

    passes = len(selection.before) + len(selection.after)
    whole_chips = (LOADER_SIDE // CHIP) ** 2
    print(
        f"chips of {CHIP} pixels, {passes} passes of VV and VH and terrain, {LOADER_SIDE} x {LOADER_SIDE} pixels"
    )
    print(
        f"scratch copy: {copied:.1f} s once ({whole_chips / copied:.0f} chips a second while it is made)",
        flush=True,
    )
    _rate("slidecube, from the scratch copy (what training does)", ours(scratch), 64)
    _rate("slidecube, from Zarr, means over passes made each time", ours(direct), 16)
    if importlib.util.find_spec("xbatcher"):
        for name, generator in _xbatcher(path, selection).items():
            iterator = iter(generator)

            def take(count: int, iterator: Iterator[Any] = iterator) -> int:
                return sum(1 for _, batch in zip(range(count), iterator, strict=False) if batch.load())

            _rate(f"xbatcher, {name}, passes as they are", take, 16)
    else:
        print("xbatcher is not installed and left out (pip install xbatcher)")


def _rate(name: str, take: Callable[[int], int], count: int) -> None:
    take(2)
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        rates.append(take(count) / (time.perf_counter() - began))
    print(f"{name:62}{np.median(rates):9.1f} chips a second", flush=True)


def _xbatcher(path: Path, selection: Any) -> dict[str, Any]:
    """Its generator over the same variables and passes: through Zarr as it comes, and with the fast decoder."""
    import xarray as xr
    import xbatcher

    from pipeline.cube.encoding.arrays import FAST_CODECS

    used = sorted(p.index for p in (*selection.before, *selection.after))
    names = ["vv", "vh", "dem", "dem_slope_radians", "dem_aspect", "dem_curvature"]
    found = {}
    for name, codecs in (("zarr-python", None), ("with the zarrs decoder", FAST_CODECS)):
        import zarr

        with warnings.catch_warnings(), zarr.config.set({"codec_pipeline.path": codecs} if codecs else {}):
            warnings.simplefilter("ignore")
            dataset = xr.open_zarr(path, chunks=None)[names].isel(timestep=used)
        found[name] = xbatcher.BatchGenerator(dataset, input_dims={"y": CHIP, "x": CHIP}, preload_batch=False)
    return found


def map_(folder: Path) -> None:
    """Seconds a square kilometre and the peak of memory."""
    height, width = (int(side) for side in MAP.split("x"))
    path = _cube(folder / "map.zarr", (height, width), before=3, after=1)
    for what in ("open", "map"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.learning", "child", what, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        found = json.loads(done.stdout.splitlines()[-1])
        words = f"{what}: peak {found['peak_mib']:.0f} MiB"
        if what == "map":
            area = height * width * PIXEL_KM2
            words += (
                f", {found['seconds']:.0f} s for {height} x {width} pixels ({area:.0f} km2), "
                f"{1000 * found['seconds'] / area:.1f} ms a km2, small network"
            )
        print(words, flush=True)
    for name in ("paper's network, 8 chips of 128", "default (ResNet-18 U-Net), 8 chips of 128"):
        spec = CONTESTANTS[name][0]
        print(
            f"{name.split(',')[0]}: {_seconds_a_km2(spec):.3f} s a km2, windows of 512, overlap 96",
            flush=True,
        )


def _seconds_a_km2(spec: NetworkSpec, side: int = 1024) -> float:
    """A square of 1024 pixels from memory."""
    import torch

    from model.inputs.channel_registry import CHANNELS
    from model.network.inference import NetworkProbability, predict
    from model.network.network import build

    names = tuple(channel.name for channel in CHANNELS)[: spec.in_channels]
    statistics = Statistics(channels=names, mean=(0.0,) * len(names), sd=(1.0,) * len(names), pixels=1)
    probability = NetworkProbability(build(spec), torch.device("cpu"))
    source = _Made(spec.in_channels, (side, side))
    began = time.perf_counter()
    for _ in predict(source, whole((side, side)), statistics, probability, InferencePlan()):
        pass
    return (time.perf_counter() - began) / (side * side * PIXEL_KM2)


def _child(what: str, path: str) -> None:
    """Open a cube and build a network; or predict all of it, and drop the rows as they come."""
    import torch

    from model.network.inference import NetworkProbability, predict
    from model.network.network import build

    torch.manual_seed(0)
    dataset, _ = load(path)
    inputs = Inputs(track=46)
    channels = CubeChannels(dataset, inputs, select(dataset, inputs))
    spec = SCREENING.model_copy(update={"in_channels": len(inputs.channels)})
    probability = NetworkProbability(build(spec), torch.device("cpu"))
    statistics = Statistics.of(channels, inputs.channels, (Box(top=0, left=0, height=512, width=512),))
    began = time.perf_counter()
    if what == "map":
        rows = sum(
            strip.box.height
            for strip in predict(channels, whole(channels.shape), statistics, probability, InferencePlan())
        )
        assert rows == channels.shape[0]
    status = Path("/proc/self/status").read_text() if Path("/proc/self/status").exists() else ""
    peak = (
        int(status.split("VmHWM:")[1].split()[0])
        if "VmHWM:" in status
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    print(json.dumps({"peak_mib": peak / 1024, "seconds": time.perf_counter() - began}))


def _cube(path: Path, shape: tuple[int, int], *, before: int, after: int) -> Path:
    """A cube of track 46 with the layout of this project: a small one repeated, each pass with its own noise."""
    import xarray as xr
    from zarr.codecs import ZstdCodec

    small = small_cube(256, before=before, after=after)
    small = small.isel(timestep=np.flatnonzero(small.relative_orbit.values == 46))
    rng = np.random.default_rng(0)

    def wide(values: np.ndarray) -> np.ndarray:
        times = [-(-side // 256) for side in shape]
        return np.tile(values, (*[1] * (values.ndim - 2), *times))[..., : shape[0], : shape[1]]

    encoding: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for name, variable in small.data_vars.items():
        values = wide(variable.values.astype(np.float32))
        if "timestep" in variable.dims:
            values *= rng.standard_gamma(20.0, values.shape, dtype=np.float32) / np.float32(20.0)
        data[str(name)] = (variable.dims, values)
        layered = (1,) if "timestep" in variable.dims else ()
        encoding[str(name)] = {
            "chunks": (*layered, 256, 256),
            "shards": (*layered, 2048, 2048),
            "compressors": (ZstdCodec(level=3),),
        }
    coordinates = {
        str(name): variable for name, variable in small.coords.items() if name not in ("y", "x")
    } | {
        "y": 4_700_000.0 - 5 - 10.0 * np.arange(shape[0]),
        "x": 500_005.0 + 10.0 * np.arange(shape[1]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings in Zarr v3 have no specification yet
        xr.Dataset(data, coords=coordinates, attrs=small.attrs).to_zarr(
            path, zarr_format=3, mode="w", encoding=encoding
        )
    return path


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _child(sys.argv[2], sys.argv[3])
    else:
        parts = {"step": step, "loader": loader, "map": map_}
        with tempfile.TemporaryDirectory(
            prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")
        ) as scratch:
            for chosen in sys.argv[1:] or parts:
                parts[chosen](Path(scratch))
