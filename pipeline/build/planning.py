"""Making the plan of a build from what the archives hold and what the cube holds."""

from __future__ import annotations

from pipeline.areas.area import AreaOfInterest
from pipeline.build.contents import manifest_of, store_of
from pipeline.build.plan import AXES, BuildPlan
from pipeline.build.reprocessed import reprocessed
from pipeline.catalogue.catalogue import Catalogue, is_simulated
from pipeline.cube import versions
from pipeline.cube.layers import Recipe, read_record
from pipeline.cube.schema import Axis
from pipeline.errors import ArchiveError, CubeError
from pipeline.grid import Grid
from pipeline.layers.kind import Wanted
from pipeline.layers.kinds import KINDS, Kinds
from pipeline.layers.plan_inputs import PlanInputs

MISSING_ORDER: tuple[Axis | None, ...] = (None, "timestep", "track", "timepair")
"""Order of the lines of `missing`, by axis. They belong to a version's substance: another order would publish every
cube anew."""


def make_plan(
    area: AreaOfInterest, catalogue: Catalogue, pairs: bool = True, *, kinds: Kinds = KINDS
) -> BuildPlan:
    """Every layer that the area wants, and which of them the cube holds; without `pairs`, new ones are left for later.

    Raises:
        ArchiveError: the archive has no pass over the area.
        CubeError: the cube on disk has another grid.
    """
    store = store_of(area)
    grid = Grid.of_area(area)
    current = versions.current_version(store)
    previous = versions.read_manifest(store, current) if current is not None else None
    if previous is not None and previous.grid.digest != grid.digest:
        raise CubeError(
            f"The cube at {store.uri} has another grid than the area {area.name!r} defines now.",
            "A changed grid is a new cube: rename the area, or move the old cube away.",
        )

    def is_held(recipe: Recipe) -> bool:
        return read_record(store, recipe.digest) is not None

    inputs = PlanInputs(area, catalogue, grid, previous, is_held, make_pairs=pairs)
    if not inputs.passes.passes:
        raise _no_pass(area, inputs)
    parts = [
        _without_held(kind.wanted(inputs), inputs) for kind in sorted(kinds, key=lambda k: AXES.index(k.axis))
    ]
    renewed = reprocessed((task for part in parts for task in part.tasks), previous)
    by_words = sorted(parts, key=lambda part: MISSING_ORDER.index(part.kind.axis))
    plan = BuildPlan(
        area=area.name,
        cube=store.uri,
        grid=grid,
        parts=tuple(parts),
        passes=inputs.passes.passes,
        pairs=inputs.pairs.pairs,
        unpaired=inputs.pairs.unpaired,
        missing=tuple(line for part in by_words for line in part.missing),
        notes=(
            *(("the archives state that these data are simulated",) if is_simulated(catalogue) else ()),
            *catalogue.notes,
            *inputs.passes.notes,
            *(note for part in parts for note in part.notes),
            *renewed,
        ),
        reprocessed=renewed,
        current_version=current,
        changes=True,
    )
    if plan.wanted or previous is None:
        return plan
    changes = manifest_of(area, plan, catalogue, {}).substance != previous.substance
    return plan.model_copy(update={"changes": changes})


def _without_held(wanted: Wanted, inputs: PlanInputs) -> Wanted:
    """The same, with a mark on the tasks whose layers the cube has; nothing is read for them."""
    tasks = tuple(
        task.model_copy(update={"held": True, "size_bytes": 0}) if inputs.is_held(task.recipe) else task
        for task in wanted.tasks
    )
    return wanted.model_copy(update={"tasks": tasks})


def _no_pass(area: AreaOfInterest, inputs: PlanInputs) -> ArchiveError:
    """That no pass can be used, and why."""
    why = "".join(f" {line}." for line in inputs.passes.left_out)
    return ArchiveError(
        f"The archive has no usable pass over {area.name!r} between {area.start:%Y-%m-%d} and {area.end:%Y-%m-%d}."
        f"{why}",
        "Change the area's polarisations, collection or `exclude` as these items ask, or wait for the archive."
        if why
        else "Widen the time range or the tracks of the area, or wait for the archive.",
    )
