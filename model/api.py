"""What commands and flows call: train a bundle on a cube, map a cube with a bundle, map it without training.

`train` and `map` know where a result belongs (`pipeline.places`) and make nothing twice; `train_bundle`,
`map_cube` and `map_detector` write to the folder that is given. Torch is imported late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from pydantic import JsonValue

from model.bundle.summaries import BundleRecord, ReleaseRecord
from model.experiments.predictors.predictor import FittedPredictor, Predictor
from model.experiments.predictors.strict_result import StrictResult, StrictSettings
from model.experiments.predictors.strict_run import score_predictor
from model.inputs import cubes
from model.inputs.best_inputs import best_inputs
from model.inputs.inputs import Inputs
from model.kept_results import Result, bundle_folder, map_folder, map_options, once
from model.maps.map_cube import map_cube
from model.maps.map_detector import map_detector
from model.maps.map_plan import DetectorMapPlan, MapPlan
from model.network.architectures import register_network
from model.network.parts.own_parts import fingerprint, name_of
from model.network.training_plan import TrainingPlan
from model.origin import Origin
from model.training.experiment import Experiment
from model.training.train_bundle import train_bundle, with_start
from pipeline.cube.read import decoding
from pipeline.errors import ModelError
from pipeline.places import Place, bundle_named, feed_of_maps, is_shipped, maps_root
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

if TYPE_CHECKING:
    import xarray as xr

    from model.bundle.bundle import ModelBundle
    from model.bundle.export import ExportRecord

__all__ = [
    "BundleRecord",
    "DetectorMapPlan",
    "Experiment",
    "FittedPredictor",
    "MapPlan",
    "ReleaseRecord",
    "Result",
    "StrictResult",
    "StrictSettings",
    "TrainingPlan",
    "TrainingRequest",
    "export_bundle",
    "load_bundle",
    "map",
    "map_cube",
    "map_detector",
    "run_strict",
    "train",
    "train_bundle",
]

UNIMPORTANT = {"device", "processes", "compiled"}
"""fields of a training plan that say where and how fast it runs, not what is trained"""


class TrainingRequest(Frozen):
    """What is trained on a cube."""

    plan: TrainingPlan = TrainingPlan()
    seed: int = 0
    experiment: Experiment = Experiment()


class OwnParts(TypedDict, total=False):
    """A network and a loss of somebody else, for `train`."""

    build: Callable[..., Any] | str
    """what makes the network: a callable, as `slidecube.register_network` takes it, or the name of a registered network
    or of an entry point of the group `slidecube.networks`"""
    loss: Callable[..., Any] | str
    """the loss: a callable, as `slidecube.register_loss` takes it, or the name of a registered loss or of an entry
    point of the group `slidecube.losses`"""


def train(
    cube: str,
    request: TrainingRequest | None = None,
    *,
    out: Path | None = None,
    name: str | None = None,
    replace: bool = False,
    progress: Progress = no_progress,
    **own: Unpack[OwnParts],
) -> Result[BundleRecord]:
    """Train a bundle on a cube, or find the one that the same request made before.

        >>> request = slidecube.TrainingRequest(plan={"steps": 4, "batch": 4, "chip_px": 32, "stride_px": 16})
        >>> made = slidecube.train("sandbox", request)
        >>> made.new, made.record.area, made.record.passes_after
        (True, 'sandbox', 2)

    Args:
        cube: path of a cube or of a version, or name of a built area.
        request: plan, seed, inputs; None: the best recipe that was measured.
        out: folder of the bundle; None: where `pipeline.places` puts it.
        name: of a further bundle of the same version; None: the version's own bundle.
        replace: train in any case, in place of another bundle.
        progress: called with the stage, the finished part of it, the whole, and a figure.
        own: a network (`build`) and a loss (`loss`) of your own, see `OwnParts`.

    Returns:
        The record of the bundle (path, digest, scores), and whether it is new.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube cannot be trained on.
        ReplaceError: something else is where the bundle belongs.
    """
    request, marks = _with_own(_as_run(request or TrainingRequest()), own)
    start, experiment = with_start(request.experiment)
    if start is not None:
        request = request.model_copy(update={"experiment": experiment})
        marks["start"] = start.digest
    dataset, facts = cubes.load(cube)
    others = [cubes.load(other) for other in request.experiment.others]
    with decoding(" or ".join((cube, *request.experiment.others))):
        inputs = _inputs(request.experiment, dataset, [other for other, _ in others])
    options = _training_options(request, inputs, [other.digest for _, other in others]) | marks
    origin = Origin(kind="bundle", cube=facts.digest, options=options)
    target = out or bundle_folder(facts.place, name, origin, replace=replace)
    return once(
        target,
        origin,
        lambda folder: train_bundle(
            facts.uri,
            folder,
            plan=request.plan,
            seed=request.seed,
            experiment=request.experiment,
            progress=progress,
        ),
        facts.uri,
        replace,
    )


def map(
    cube: str,
    bundle: str | None = None,
    plan: MapPlan | DetectorMapPlan | None = None,
    *,
    out: Path | None = None,
    replace: bool = False,
    progress: Progress = no_progress,
) -> Result[ReleaseRecord]:
    """Map a cube, or find the map that the same request made before.

        >>> made = slidecube.map("sandbox")  # by the training-free detector, which needs no bundle
        >>> made.record.picture.is_file()
        True
        >>> slidecube.map("sandbox").new  # the same again: nothing to do
        False

    Args:
        cube: path of a cube or of a version, or name of a built area.
        bundle: folder of a bundle, or name of an area for its newest; None: the training-free detector, also where the
            area has a bundle.
        plan: a `MapPlan` with a bundle, a `DetectorMapPlan` without one; None: the defaults.
        out: folder of the map; None: where `pipeline.places` puts it.
        replace: map in any case, in place of another map.
        progress: called with the stage, the finished part of it, the whole, and a figure.

    Returns:
        The record of the map (path, picture, polygons, scores), whether it is new, and what a person changed in it.

    Raises:
        CubeError: there is no such cube.
        ModelError: the bundle is absent or damaged, or the cube lacks what it needs.
        ReplaceError: something else is where the map belongs.
    """
    wanted = MapPlan() if bundle is not None else DetectorMapPlan()
    if plan is None:
        plan = wanted
    if type(plan) is not type(wanted):
        raise ModelError(f"A {type(plan).__name__} was given where a {type(wanted).__name__} belongs.")
    _, facts = cubes.load(cube)
    model = None if bundle is None else bundle_named(bundle)
    digest = None if model is None else _digest(model)
    origin = Origin(kind="map", cube=facts.digest, model=digest, options=map_options(plan))
    target = out or map_folder(facts.place, model, origin, replace=replace)

    def make(folder: Path) -> ReleaseRecord:
        if model is not None and isinstance(plan, MapPlan):
            return map_cube(model, facts.uri, folder, plan=_allowed(plan, model), progress=progress)
        without = plan if isinstance(plan, DetectorMapPlan) else DetectorMapPlan()
        return map_detector(facts.uri, folder, plan=without, progress=progress)

    made = once(target, origin, make, facts.uri, replace)
    if out is None:
        _announce(facts.place, made)
    return made


def _announce(place: Place, made: Result[ReleaseRecord]) -> None:
    """Point `latest` at a new map, and write the feed of all maps; also where an interrupted run did not come to it."""
    from model.releases.announcement.feed import write_feed
    from model.releases.announcement.latest_map import point_at

    if made.new or not (place.latest_map.exists() and feed_of_maps().exists()):
        if made.new or not place.latest_map.exists():
            point_at(made.record.path, place.latest_map)
        write_feed(maps_root(), feed_of_maps())


def _allowed(plan: MapPlan, model: Path) -> MapPlan:
    """The plan; a bundle that comes with the package may map a real place, since a person named it: its map warns."""
    return plan.model_copy(update={"allow_simulated": True}) if is_shipped(model) else plan


def load_bundle(bundle: str) -> ModelBundle:
    """A bundle ready to predict, by its folder or by the name of its area, which means the newest.

        >>> bundle = slidecube.load_bundle("sandbox")
        >>> bundle.document.cube.area, len(bundle.networks)
        ('sandbox', 1)

    Raises:
        ModelError: it is absent or damaged.
    """
    from model.bundle.bundle import load

    return load(bundle_named(bundle))


def run_strict(
    cube: str,
    inputs: Inputs | Mapping[str, Any] | None = None,
    *,
    predictor: Predictor,
    settings: StrictSettings | None = None,
    out: Path | None = None,
    progress: Progress = no_progress,
) -> StrictResult:
    """Score any method on a cube under the protocol `strict`: every pixel is tested once, by what was fitted elsewhere.

        >>> from sklearn.linear_model import LogisticRegression
        >>> found = slidecube.run_strict("sandbox", predictor=LogisticRegression())
        >>> len(found.folds), 0 <= found.auprc.lower <= found.auprc.mean <= found.auprc.upper <= 1
        (4, True)

    A predictor is one of

    - a function of (channel, y, x) float32 values, in the units of the channels and NaN where unknown, that returns
      (y, x) scores, higher where a landslide is likelier; windows have up to 640 pixels, sides are multiples of 32;
    - an object with `fit(training)` and `predict(channels)`: `training` is a
      `model.experiments.predictors.training_pixels.TrainingPixels`, and `predict` is such a function;
    - a classifier of scikit-learn, which is fitted to standardised values of single training pixels.

    In each fold a copy of the predictor begins as it was given. It sees values and labels of training pixels alone, and
    the validation rectangle, by which also the threshold is chosen. On the tested pixels in random order it must score
    no higher than chance (`model.experiments.predictors.leak_control`), else its results are refused.

    Args:
        cube: path of a cube or of a version, or name of a built area.
        inputs: `Inputs` or its fields; None: the best that the cube has.
        settings: name, rectangles, event, methods to compare with; None: the defaults.
        out: folder for the card, the result and the scores; None: nothing is written.
        progress: called with the stage, the finished part of it, the whole, and a figure.

    Returns:
        The figures of every fold, their mean with its range over folds and blocks, the differences from other methods
        on the same pixels; `card` is the same in words.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube cannot be scored on, no fold can be run, the predictor cannot be used, or it leaks.
    """
    chosen = None if inputs is None else Inputs.model_validate(inputs)
    with decoding(cube):
        return score_predictor(cube, chosen, predictor, settings or StrictSettings(), out, progress)


def export_bundle(
    bundle: str,
    file: Path,
    kind: Literal["onnx", "torch"],
    *,
    expects: Literal["raw", "standardised"] = "raw",
    after: int | None = None,
) -> ExportRecord:
    """Write a bundle as one file that runs without slidecube, and that gives the bundle's own probabilities.

        >>> from pathlib import Path
        >>> made = slidecube.export_bundle("sandbox", Path("sandbox.pt2"), "torch")
        >>> made.largest_difference <= made.tolerance
        True

    The file takes `channels`, (batch, channel, y, x) float32, NaN where unknown, sides multiples of 32, and gives
    `probability`, (batch, y, x), calibrated, NaN where the inputs are not valid. Its metadata (`slidecube.json`) names
    the channels with their units, statistics, calibration, threshold, licences.

    Args:
        bundle: folder of a bundle, or name of an area for its newest.
        file: that is written; one that is there is replaced.
        kind: "torch" for an exported program (`torch.export.load`), "onnx" for ONNX, which needs `slidecube[onnx]`.
        expects: "raw": values of the channels, which the file standardises by the training area's statistics;
            "standardised": values standardised by the scene's, as `map` does for a scene outside the training set.
        after: passes after the event, whose calibration the file holds; None: as many as the training cube has.

    Raises:
        ModelError: the bundle is absent or damaged, cannot be exported, a package is missing, or the file would give
            other probabilities; nothing is written then.
    """
    from model.bundle.export import export_bundle as exported

    return exported(load_bundle(bundle), kind, file, expects, after)


def _digest(bundle: Path) -> str:
    from model.bundle.bundle import read_document

    return read_document(bundle).digest


def _as_run(request: TrainingRequest) -> TrainingRequest:
    """The request with the precision that the device computes in, by which its result is recognised."""
    if request.plan.precision == "float32":
        return request
    from model.network.network import plan_as_run

    return request.model_copy(update={"plan": plan_as_run(request.plan)})


def _with_own(request: TrainingRequest, own: OwnParts) -> tuple[TrainingRequest, dict[str, JsonValue]]:
    """The request with a network and a loss of somebody else by name; and what tells them from others of these names.

    Raises:
        ModelError: they are callables, and several processes train, which do not know them.
    """
    build, loss = own.get("build"), own.get("loss")
    if request.plan.processes > 1 and not all(
        part is None or isinstance(part, str) for part in (build, loss)
    ):
        raise ModelError(
            "Processes that train together cannot be given a network or a loss as a callable.",
            "Give it an entry point (slidecube.networks, slidecube.losses), or train in one process.",
        )
    marks: dict[str, JsonValue] = {}
    if request.experiment.initial_weights == "imagenet":
        marks["first_filters"] = "the same for both dates"
    if build is not None:
        name = build if isinstance(build, str) else register_network(name_of(build), build)
        marks |= {} if isinstance(build, str) else {"own.build": fingerprint(build)}
        experiment = Experiment.model_validate(request.experiment.model_dump() | {"architecture": name})
        request = request.model_copy(update={"experiment": experiment})
    if loss is not None:
        if not isinstance(loss, str):
            from model.network.parts.losses import register_loss

            marks["own.loss"] = fingerprint(loss)
            loss = register_loss(name_of(loss), loss)
        request = request.model_copy(update={"plan": request.plan.model_copy(update={"loss": loss})})
    return request, marks


def _inputs(experiment: Experiment, cube: xr.Dataset, others: list[xr.Dataset]) -> Inputs:
    """The inputs that an experiment comes to on its cubes."""
    if experiment.inputs is not None:
        return experiment.inputs
    return best_inputs(cube, experiment.event, experiment.settled, others)[0]


def _training_options(request: TrainingRequest, inputs: Inputs, others: list[str]) -> dict[str, JsonValue]:
    plan = request.plan.model_dump(mode="json", exclude=UNIMPORTANT)
    experiment = request.experiment.model_dump(mode="json", exclude={"others", "inputs", "settled"})
    return {
        **{f"plan.{name}": value for name, value in plan.items()},
        **{f"experiment.{name}": value for name, value in experiment.items()},
        **{f"inputs.{name}": value for name, value in inputs.model_dump(mode="json").items()},
        "seed": request.seed,
        "others": list(others),
    }
