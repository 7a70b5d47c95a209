"""The whole chain on a simulated event: archives on loopback, the real flows, a map at the end.

The only module that imports both the pipeline and the sandbox. The flows run in a worker's processes, which reach the
sandbox as they would reach the archives, through the standard proxy variables.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from prefect.client.schemas.objects import FlowRun

from flows import chain
from flows.demo_folder import claim, remove_results, remove_run
from flows.serving.local_server import LocalPrefect
from flows.serving.terminal import Stages
from model import api
from model.maps.map_report import REPORT
from model.maps.release import PICTURE
from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.cube.cube_quicklook import write_quicklook
from pipeline.errors import IncompleteError, SlidecubeError
from pipeline.files import read_regular
from pipeline.lock import LockedError, held
from pipeline.places import cube_root
from pipeline.sandbox.earth.parameters import SandboxError, SlcPlan, WorldParameters
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world
from pipeline.settings import settings

AREA = "sandbox"
WORLD = WorldParameters(slc=SlcPlan())
"""Four single look complex passes of one track in addition to the backscatter: pairs before, across and after the
event."""
EVENT_WAIT_S = 60.0
"""longest wait for the training that the event starts; then the demo runs `reconcile`"""
STAGE_LIMIT_S = 1800.0
MOST_REPORT_BYTES = 16 * 2**20


@dataclass(frozen=True)
class DemoResult:
    """The paths of what the demo made."""

    cube: str
    quicklook: str
    bundle: Path
    map: Path
    detector: Path
    """the map without a label or a model"""
    logs: Path

    def lines(self) -> list[tuple[str, str]]:
        """(name, text) of what a person opens first."""
        report, without = (
            json.loads(read_regular(folder / REPORT, MOST_REPORT_BYTES))["map"]
            for folder in (self.map, self.detector)
        )
        return [
            ("cube", f"{self.cube}  (xarray.open_zarr opens it)"),
            ("layers", f"{self.quicklook}  (backscatter, labels, coherence)"),
            ("model", f"{self.bundle / 'MODEL_CARD.md'}"),
            (
                "scores",
                f"AUPRC {report['auprc']:.3f} at a prevalence of {report['prevalence']:.3f}, which a random map "
                f"would score; on {report['scored_on']}. Simulated data: it says nothing of real landslides.",
            ),
            ("map", f"{self.map / 'landslides.gpkg'}, {self.map / 'probability.tif'}"),
            ("page", f"{self.map / 'index.html'}  (opens in a browser without a network)"),
            ("picture", f"{self.map / PICTURE}"),
            (
                "no label",
                f"{self.detector / PICTURE}: the training-free detector, which needs neither labels nor a model; "
                f"AUPRC {without['auprc']:.3f} at {without['prevalence']:.3f}, on {without['scored_on']}",
            ),
            ("logs", f"{self.logs}"),
        ]


def run_demo(root: Path, stages: Stages, *, fresh: bool = False) -> DemoResult:
    """Simulate, serve, build, train and map under `root`, which is the data folder of this process's settings.

    The results of an earlier demo are used again; `fresh` removes them first, and nothing that no demo made.

    Raises:
        SlidecubeError: the folder holds what no demo made, another demo is running in it, or a stage failed (named,
            with its log).
    """
    claim(root)
    try:
        with held(root / ".demo.lock", wait=False):
            if fresh:
                remove_results(root, AREA)
            remove_run(root)
            return _run(root, stages)
    except LockedError:
        raise SlidecubeError(
            f"Another demo is running in {root}.", "Wait for it, or name another folder with --folder."
        ) from None


def _run(root: Path, stages: Stages) -> DemoResult:
    area = load_area(AREA)
    stages.begin("Simulating an earthquake")
    world = simulated_world(area, root / "world", stages)
    stages.begin("Opening the simulated archives")
    with Sandbox(world) as archives:
        names = {
            "server": "Starting a Prefect server",
            "set-up": "Deploying the flows",
            "worker": "Starting a worker",
        }
        local = LocalPrefect(
            home=root / "prefect",
            logs=root / "logs",
            environment={
                **archives.environment,
                "SLIDECUBE_DATA_DIR": str(settings().data_dir.resolve()),
                # the processor that pip installs
                "SLIDECUBE_INSAR_BACKEND": "pygmtsar",
                # waiting threads sleep: on a loaded machine, spinning ones make training ten times slower
                "OMP_WAIT_POLICY": "PASSIVE",
            },
            progress=lambda stage: stages.begin(names[stage]),
        )
        with local as prefect:
            stages.begin("Building the cube")
            build(prefect, stages)
            version = chain.version_of(str(cube_root(AREA)))
            follow_chain(prefect, version, stages)
            stages.begin("Mapping without labels")
            without = api.map(version.uri).record.path
            stages.begin("Stopping worker, server and archives")
    found = chain.standing(version)
    if found.bundle is None or found.map is None:
        lacking = "bundle" if found.bundle is None else "map"
        raise IncompleteError(f"The chain ended without a {lacking} of {version.uri}.", "Run the demo again.")
    return DemoResult(
        cube=version.uri,
        quicklook=write_quicklook(version.uri).uri,
        bundle=found.bundle,
        map=found.map,
        detector=without,
        logs=root / "logs",
    )


def simulated_world(area: AreaOfInterest, folder: Path, stages: Stages) -> Path:
    """The simulated world of the area, made once; that of an earlier version of the area is replaced."""

    def note(what: str, done: int, total: int | None = None, remark: str = "") -> None:
        stages.note(f"{done} of {total}: {what}")

    try:
        make_world(area, folder, WORLD, progress=note)
    except SandboxError:
        shutil.rmtree(folder)
        make_world(area, folder, WORLD, progress=note)
    return folder


def build(prefect: LocalPrefect, stages: Stages) -> None:
    """Run the command that a user types, and wait for its flow run.

    Raises:
        IncompleteError: the run did not complete.
    """
    words = ("deployment", "run", "build-datacube", "--param", f"aoi={AREA}")
    stages.note(f"prefect {' '.join(words)}")
    answer = prefect.command(*words)
    if answer.returncode != 0:
        raise SlidecubeError(f"`prefect {' '.join(words)}` was refused: {answer.stdout + answer.stderr}")
    deadline = time.monotonic() + STAGE_LIMIT_S
    while not (run := newest(prefect, "build-datacube")) or not ended(run):
        if run is not None:
            stages.note(prefect.last_words(run))
        prefect.check()
        wait_a_second(deadline, "building")
    must_complete(run, prefect)


def follow_chain(prefect: LocalPrefect, version: chain.CubeVersion, stages: Stages) -> None:
    """Wait until the version has its model and its map; its event starts the flow that makes them.

    Raises:
        IncompleteError: training or mapping failed, or took longer than allowed.
    """
    deadline = time.monotonic() + STAGE_LIMIT_S
    reconcile_at = time.monotonic() + EVENT_WAIT_S
    stage = ""
    while True:
        run = newest(prefect, "train-model")
        lacks = chain.standing(version).lacks
        if not lacks and (run is None or ended(run)):
            if refused := chain.standing(version).refused:
                raise IncompleteError("; ".join(f"No {what}: {why}" for what, why in refused.items()))
            return
        if lacks and lacks[0] != stage:
            stage = lacks[0]
            stages.begin({"model": "Training a network", "map": "Mapping"}[stage])
        if run is not None:
            stages.note(prefect.last_words(run))
            if lacks and ended(run):
                must_complete(run, prefect)
                raise IncompleteError(
                    f"The chain ended without its {' and '.join(lacks)}.", f"See {prefect.logs}."
                )
        if run is None and reconcile_at and time.monotonic() > reconcile_at:
            prefect.command("deployment", "run", "reconcile")
            reconcile_at = 0.0
        prefect.check()
        wait_a_second(deadline, "chain after the cube")


def newest(prefect: LocalPrefect, flow: str) -> FlowRun | None:
    """The last run of a flow on this server."""
    runs = prefect.runs(flow)
    return runs[0] if runs else None


def ended(run: FlowRun) -> bool:
    """Whether the run has ended, in success or failure."""
    return run.state is not None and run.state.is_final()


def must_complete(run: FlowRun, prefect: LocalPrefect) -> None:
    """Check that a run which has ended has completed.

    Raises:
        IncompleteError: it ended otherwise.
    """
    state = run.state
    if state is None or not state.is_completed():
        ended_as = "without a state" if state is None else f"{state.name}: {state.message}"
        raise IncompleteError(f"The flow run {run.name!r} ended {ended_as}", f"See {prefect.logs}.")


def wait_a_second(deadline: float, what: str) -> None:
    """Pause a loop that waits for a stage.

    Raises:
        IncompleteError: the stage has taken longer than allowed.
    """
    if time.monotonic() > deadline:
        raise IncompleteError(f"The {what} took longer than {STAGE_LIMIT_S / 60:.0f} minutes.")
    time.sleep(1.0)
