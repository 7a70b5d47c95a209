"""A small world for following an event from its first report to the last pass, made in about a minute."""

from __future__ import annotations

from pathlib import Path

from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.progress import Progress, no_progress
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters
from pipeline.sandbox.publication.timetable_plan import usual_troubles, write_timetable
from pipeline.sandbox.seismicity.scripted_events import write_events
from pipeline.sandbox.seismicity.world_events import MODERATE, events_of_world
from pipeline.sandbox.world import World, make_world

NAME = "event-play"
BOX = (142.020, 42.710, 142.057, 42.737)
"""About 3 x 3 km, in UTM zone 54."""
PASSES_BEFORE, PASSES_AFTER = 10, 4


def play_area() -> AreaOfInterest:
    """The area of the landslides of the play: that of `aoi/sandbox.yaml`, smaller."""
    shipped = load_area("sandbox")
    return shipped.model_copy(
        update={"name": NAME, "title": "Simulated earthquake to follow", "bbox": BOX, "interferometry": None}
    )


def play_parameters(seed: int) -> WorldParameters:
    """Two tracks over the area, with the archive's peculiarities that a timetable does not state itself left out."""
    return WorldParameters(
        seed=seed,
        tracks=(
            TrackPlan(
                relative_orbit=46,
                direction="descending",
                before=PASSES_BEFORE,
                after=PASSES_AFTER,
                incidence_deg=35.9,
            ),
            TrackPlan(
                relative_orbit=68,
                direction="ascending",
                before=PASSES_BEFORE,
                after=PASSES_AFTER,
                incidence_deg=38.6,
                offset_days=3,
            ),
        ),
        slices=2,
        margin_px=120,
        prevalence=0.06,
        dem_collections=("nasadem", "cop-dem-glo-30"),
        missing_pass=False,
        partial_pass=False,
        duplicate_item=False,
        reprocessed_item=False,
        zero_filled_pass=False,
        list_granules=True,
    )


def make_play(root: Path, seed: int = 1, progress: Progress = no_progress) -> World:
    """Make the world with its timetable and its events; a finished one is reused.

    Raises:
        SandboxError: the folder has another world or other files.
    """
    world = make_world(play_area(), root, play_parameters(seed), progress)
    write_timetable(world, usual_troubles(world, seed))
    write_events(world.root, events_of_world(world, seed, magnitudes=MODERATE))
    return world
