"""The commands `train` and `map`. Heavy modules are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.cli.options import (
    TEST_TIME,
    chip_option,
    device_option,
    event_option,
    inputs_of,
    parsed_event,
    pass_options,
    print_result,
    protocol_option,
    replace_option,
    settled_inputs,
    values_checked,
)
from pipeline.console import as_json, progress_bars, reports_errors
from pipeline.errors import number_of

if TYPE_CHECKING:
    from model.api import DetectorMapPlan, MapPlan, TrainingRequest
    from model.bundle.summaries import BundleRecord, ReleaseRecord


@click.command()
@click.argument("cube")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the model; by default below the data folder."
)
@click.option(
    "--name", help="Keep a further model of this version under this name: models/<area>/v<version>-<name>."
)
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="CUBE",
    help="A further event to train on; may be given several times. The inputs are those that all of them have; each "
    "event is standardised with its own statistics.",
)
@click.option(
    "--left-out",
    is_flag=True,
    help="Train once more for each event, on the others, so that maps state what they are worth on an event that was "
    "left out, and are calibrated by it. Needs three events (--with); with --checkpoints a finished event is kept.",
)
@click.option("--steps", type=click.IntRange(1), help="Batches to train on.  [default: 300]")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Peak of the learning rate.")
@chip_option(None, "  [default: 128]")
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the split, the initial weights and the chips.",
)
@click.option("--encoder", type=click.Choice(["resnet18", "resnet34", "resnet50"]), default="resnet18")
@click.option(
    "--members",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="Number of networks, with different seeds, whose mean is mapped; training and map take as many times longer.",
)
@click.option(
    "--start",
    metavar="BUNDLE",
    help="Start from the weights of a bundle: a folder, the name of an area, or simulated-prior. Inputs and network "
    "are those of the bundle.",
)
@click.option("--imagenet", is_flag=True, help="Start from ImageNet weights, fetched from the model hub.")
@click.option(
    "--polarisation", type=click.Choice(["vv", "vh"]), multiple=True, help="May be given twice, for both."
)
@click.option(
    "--terrain",
    help="Terrain channels, separated by commas, or none.  [default: dem,slope,aspect,curvature]",
)
@click.option("--change", help="Channels of change: log_ratio, before_sd, z_score; or none.")
@click.option("--geometry", help="Channels of the look geometry: local_incidence, layover_shadow; or none.")
@click.option("--coherence", help="Channels of coherence: before, across, after, loss, recovery; or none.")
@click.option("--further", help="Further channels by name (model/inputs/channel_registry.py); or none.")
@click.option(
    "--mirrored/--plain",
    default=None,
    help="Map by the mean with the prediction of the mirrored scene, which takes twice as long.",
)
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the state of the training in this folder at each evaluation; the same command goes on from there.",
)
@click.option(
    "--logger",
    type=click.Choice(["csv", "tensorboard", "mlflow"]),
    help="Write the evaluations for this program too, besides metrics.csv; needs --checkpoints.",
)
@device_option
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Share each batch among processes, one for each GPU.",
)
@protocol_option("Write scores to --out instead of a model. ")
@click.option("--epochs", type=click.IntRange(1), help="Training epochs of --protocol paper.  [default: 100]")
@click.option(
    "--network",
    type=click.Choice(["small", "resnet18", "paper"]),
    help="Network of --protocol, which does not use --encoder. small: a ResNet-18 of three halvings; paper: the "
    "U-Net++ with a ResNet-50.  [default: paper (paper), resnet18 (strict)]",
)
@pass_options
@event_option
@replace_option
@as_json
@reports_errors
def train(cube: str, out: Path | None, name: str | None, replace: bool, json_: bool, **options: Any) -> None:
    """Train a landslide model on CUBE: the path of a cube, or the name of a built area.

    The model is written below the data folder, to models/<area>/v<version>, where the flows find it too. If the same
    command has made it before, nothing is done. Inputs that are not named are the best ones that the cube has; the
    model card says what the cube lacks.
    """
    if protocol := options.pop("protocol"):
        from model.cli.experiments import train_by_protocol

        if out is None:
            raise click.UsageError("--protocol needs --out, a folder for its results.")
        if name is not None or replace:
            raise click.UsageError("--name and --replace are for a model, not for --protocol.")
        if options.pop("start"):
            raise click.UsageError(
                "--start is for a model; use `slidecube ladder CUBE --study fine-tuning` to compare."
            )
        if options.pop("others"):
            raise click.UsageError(
                "--protocol trains on one event; use `slidecube ladder ... --study events` for several."
            )
        if options.pop("left_out"):
            raise click.UsageError("--left-out is for a model, not for --protocol.")
        train_by_protocol(cube, protocol, out, options)
        return
    if out is not None and name is not None:
        raise click.UsageError("Give --out or --name, not both.")
    if options["epochs"] is not None or options["network"] is not None:
        raise click.UsageError(
            "--epochs and --network are for --protocol; a model has --steps and --encoder."
        )
    from model import api

    request = _training_request(options)
    with progress_bars() as progress:
        result = api.train(cube, request, out=out, name=name, replace=replace, progress=progress)
    print_result(result, json_, _train_words(result.record))


def _training_request(options: dict[str, Any]) -> TrainingRequest:
    """What the options of `train` ask for."""
    from model.api import Experiment, TrainingPlan, TrainingRequest

    with values_checked():
        chosen = {
            "steps": options["steps"],
            "learning_rate": options["learning_rate"],
            "chip_px": options["chip"],
            "stride_px": options["chip"] // 2 if options["chip"] else None,
            "device": options["device"],
            "processes": options["processes"],
            "checkpoints": options["checkpoints"],
            "logger": options["logger"],
        }
        plan = TrainingPlan(**{name: value for name, value in chosen.items() if value is not None})
        experiment = Experiment(
            settled=settled_inputs(options),
            encoder=options["encoder"],
            initial_weights="imagenet" if options["imagenet"] else "random",
            start=options["start"],
            members=options["members"],
            others=options["others"],
            left_out=options["left_out"],
            event=parsed_event(options["event"]),
            **({} if options["mirrored"] is None else {"test_time": TEST_TIME[options["mirrored"]]}),
        )
        return TrainingRequest(plan=plan, seed=options["seed"], experiment=experiment)


def _baseline_words(record: BundleRecord) -> str:
    from model.bundle.expected_scores import baselines_in_words

    words = baselines_in_words(record.baselines)
    return f"Without a network, on the same pixels: {words}.\n" if words else ""


def _train_words(record: BundleRecord) -> str:
    simulated = " It was trained on a SIMULATED area." if record.simulated else ""
    events = "".join(
        f"  {event.area} {event.cube[:12]}: {event.auprc:.3f} at {event.prevalence:.4f}\n"
        for event in record.events
    )
    return (
        f"{'Mean test' if record.events else 'Test'} AUPRC {record.auprc:.3f} at a prevalence of "
        f"{record.prevalence:.4f} (a random map's AUPRC), {record.track}, "
        f"{number_of(record.passes_before, 'pass')} before and {record.passes_after} after.{simulated}\n"
        f"{events}"
        f"{_baseline_words(record)}"
        f"Model: {record.path}"
    )


@click.command("map")
@click.argument("bundle_cube", nargs=-1, required=True, metavar="[BUNDLE] CUBE")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the map; by default below the data folder."
)
@click.option("--log-ratio", is_flag=True, help="The same as no BUNDLE: the training-free detector.")
@click.option(
    "--smallest-m2",
    type=click.FloatRange(0, min_open=True),
    help="Smallest area that becomes a polygon.  [default: 400 with a BUNDLE; without, 1200 above the threshold]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    help="Map what is at least as likely: a calibrated probability; without BUNDLE a score of the detector.",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Choose the threshold that maps this share of the landslide area, in the mean over the events that the model "
    "was tested on.",
)
@click.option(
    "--precision",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Choose the threshold at which this share of the mapped area is landslide, likewise.",
)
@click.option(
    "--standardise",
    type=click.Choice(["auto", "scene", "training"]),
    help="Use the statistics of the training area, or of this scene.  [default: auto: of this scene if the model was "
    "trained on another one]",
)
@click.option(
    "--allow-simulated-model",
    is_flag=True,
    help="Map a real place with a model that was trained on a simulated one; the map warns of it.",
)
@click.option(
    "--exposure",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Buildings, roads or administrative units (any vector file): count what lies within the polygons; may be "
    "given several times.",
)
@pass_options
@event_option
@replace_option
@as_json
@reports_errors
def map_landslides(
    bundle_cube: tuple[str, ...],
    out: Path | None,
    log_ratio: bool,
    replace: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Map landslides in CUBE: with the training-free detector, or with the model in BUNDLE.

    CUBE is the path of a cube or the name of a built area. Without BUNDLE the detector maps it, which needs no label,
    also where a model of the area exists. BUNDLE is a folder, or the name of an area for its newest model. The map is
    written below the data folder, to maps/<area>/v<version>-<model>-<digest>, one folder for each
    model. If the same command has made it before, nothing is done. With a BUNDLE the passes and the track are those of
    the model, or fewer: --after 1 --track descending maps the first descending pass.
    """
    from model import api

    if len(bundle_cube) > (1 if log_ratio else 2):
        raise click.UsageError("Give CUBE alone, or BUNDLE and CUBE; --log-ratio takes no BUNDLE.")
    cube, bundle = bundle_cube[-1], bundle_cube[0] if len(bundle_cube) == 2 else None
    plan = _map_plan(options, by_model=bundle is not None)
    with progress_bars() as progress:
        result = api.map(cube, bundle, plan, out=out, replace=replace, progress=progress)
    print_result(
        result, json_, _map_words(result.record) + ("" if bundle else _words_on_models(cube, result.record))
    )


def _map_plan(options: dict[str, Any], *, by_model: bool) -> MapPlan | DetectorMapPlan:
    """What the options of `map` ask for."""
    from model.api import DetectorMapPlan, MapPlan

    if not by_model and (options["standardise"] or options["allow_simulated_model"]):
        raise click.UsageError("--standardise and --allow-simulated-model are for a map with a BUNDLE.")
    thresholds = {name: options[name] for name in ("threshold", "recall", "precision")}
    if sum(value is not None for value in thresholds.values()) > 1:
        raise click.UsageError("Give one of --threshold, --recall and --precision.")
    if not by_model and (thresholds["recall"] or thresholds["precision"]):
        raise click.UsageError(
            "--recall and --precision need a BUNDLE: the detector was tested on one real landslide, by which no "
            "threshold can be chosen. Give --threshold, in units of its score."
        )
    track: str | None = options["track"]
    passes = {
        "before": options["before"],
        "after": options["after"],
        "track": int(track) if track and track.isdigit() else track,
    }
    chosen = {
        "smallest_m2": options["smallest_m2"],
        "standardise": options["standardise"],
        "allow_simulated": options["allow_simulated_model"] or None,
        "exposure": options["exposure"] or None,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    with values_checked():
        event = parsed_event(options["event"])
        if by_model:
            return MapPlan(event=event, **passes, **given, **thresholds)
        inputs = inputs_of({**options, "polarisation": (), "terrain": "none"})
        return DetectorMapPlan(event=event, inputs=inputs, threshold=thresholds["threshold"], **given)


def _map_words(record: ReleaseRecord) -> str:
    lines = []
    if record.polygons is not None and record.mapped_km2 is not None:
        statuses = ", ".join(f"{count} {words}" for words, count in record.statuses.items())
        lines.append(
            f"{number_of(record.polygons, 'polygon')}{f' ({statuses})' if statuses else ''}, "
            f"{record.mapped_km2:.3f} km², {record.review_state}."
        )
    lines.append(f"No data: {100 * record.no_data_share:.1f} % of the scene.")
    if record.auprc is not None:
        lines.append(
            f"AUPRC {record.auprc:.3f} at a prevalence of {record.prevalence:.4f}, on {record.scored_on}."
        )
    if record.expected_words:
        lines.append(f"{record.expected_words}.")
    lines += record.statements
    if record.simulated:
        lines.append("SIMULATED: no real place, or a model that was not trained on real landslides.")
    lines += [f"Picture: {record.picture}", f"Map: {record.path}"]
    if record.page is not None:
        lines.append(f"Page: {record.page}")
    return "\n".join(lines)


def _words_on_models(cube: str, record: ReleaseRecord) -> str:
    """What a map without a bundle says where the area has one."""
    from pipeline.places import bundles_of

    if not (models := bundles_of(record.area)):
        return ""
    return (
        f"\nMade by the training-free detector. A model of this area exists ({models[-1]}): "
        f"`slidecube map {record.area} {cube}` maps with it."
    )
