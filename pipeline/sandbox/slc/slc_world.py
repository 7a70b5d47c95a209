"""Writes the single look complex data of a world: files in ASF's form, their index, and the truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry import mapping

from pipeline.catalogue.identities import platform_name
from pipeline.catalogue.slc import Burst, Granule
from pipeline.files import write_whole
from pipeline.sandbox.earth.cover import Cover, make_cover
from pipeline.sandbox.earth.images import write_cog
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.slc.eof import OrbitFacts, write_orbit_file
from pipeline.sandbox.slc.frame import NO_DAY, Survey
from pipeline.sandbox.slc.instrument import SWATH
from pipeline.sandbox.slc.lattice_ground import burst_ground
from pipeline.sandbox.slc.orbit import PERIOD_S, find_orbit
from pipeline.sandbox.slc.safe_product.annotation_files import state_vectors
from pipeline.sandbox.slc.safe_product.safe import Written, write_pass
from pipeline.sandbox.slc.signal import echoes
from pipeline.sandbox.slc.slc_index import INDEX
from pipeline.sandbox.slc.survey import SlcFlight, displaced, middle_of_tube, overflights

_FRAMES = 1184
"""Frames in an orbit, approximately as ASF numbers them."""
Advance = Callable[[str], None]
"""called with each finished step"""


def write_index(
    root: Path, granules: Sequence[Granule] = (), bursts: Sequence[Burst] = (), orbits: Sequence[Any] = ()
) -> None:
    """Write `slc/index.json`, the index of the world's single look complex data; empty lists without such data."""
    document = {
        "granules": [granule.model_dump(mode="json") for granule in granules],
        "bursts": [burst.model_dump(mode="json") for burst in bursts],
        "orbits": list(orbits),
    }
    write_whole(root / INDEX, json.dumps(document, indent=1))


def write_slc(
    scene: Scene, survey: Survey, root: Path, advance: Advance | None = None, workers: int = 2
) -> list[str]:
    """Simulate the passes of a survey and write products, bursts, orbit files, index and truth below `root`.

    Bursts are independent and simulated in parallel; each needs about 210 bytes of memory a sample. The passes of a
    burst are simulated in order of time, because the scatterers of each depend on the previous pass.

    Returns the notes.
    """
    seed = scene.parameters.seed
    flown = overflights(survey, seed)
    cover = cover_of(scene, survey)
    nominal = middle_of_tube(survey)
    scratch = root / "slc" / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    passes = [(one.flight, one.acquisition) for one in flown]

    def simulate(burst: int) -> None:
        ground = burst_ground(scene, survey, burst)
        for echo in echoes(scene, cover, ground, nominal, passes):
            np.save(scratch / f"{burst}-{echo.index}.npy", echo.counts)
            if advance:
                advance(f"burst {burst + 1} of {flown[echo.index].start:%Y-%m-%d}")

    bursts = range(len(survey.frame.starts_s))
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        list(pool.map(simulate, bursts))
    height_m = sum(survey.height_m) / 2
    granules: list[Granule] = []
    found: list[Burst] = []
    for index, one in enumerate(flown):
        names = [scratch / f"{burst}-{index}.npy" for burst in bursts]
        counts: list[NDArray[np.int16]] = [np.load(name) for name in names]
        written = write_pass(one, counts, height_m, root / "blobs")
        granules.append(_granule(one, written))
        found.extend(_burst(one, written, burst) for burst in bursts)
        for name in names:
            name.unlink()
        if advance:
            advance(f"product of {one.start:%Y-%m-%d}")
    scratch.rmdir()
    orbits = write_orbits(scene, survey, root)
    write_index(root, granules, found, orbits)
    _write_truth(scene, cover, flown, root)
    baselines = ", ".join(f"{b.perpendicular_m - a.perpendicular_m:.0f}" for a, b in pairwise(flown))
    return [
        f"track {survey.track.relative_orbit}: {len(flown)} products of {len(bursts)} bursts, "
        f"{survey.frame.lines} lines of {survey.frame.samples} samples; baselines of {baselines} m from pass to pass"
    ]


def cover_of(scene: Scene, survey: Survey) -> Cover:
    """Land cover and displacement of the survey's ground."""
    west, south, east, north = survey.plan.sub_area or scene.area.footprint.bounds
    metres = 111_320.0
    width_m = min((north - south) * metres, (east - west) * metres * np.cos(np.radians((north + south) / 2)))
    return make_cover(
        scene, ((west + east) / 2, (south + north) / 2), float(width_m), survey.plan.peak_displacement_m
    )


def _granule(one: SlcFlight, written: Written) -> Granule:
    flight = one.flight
    whole = MultiPolygon([Polygon(ring) for ring in written.outlines]).convex_hull
    return Granule(
        name=one.granule,
        platform=platform_name(flight.platform),
        absolute_orbit=flight.absolute_orbit,
        relative_orbit=flight.track.relative_orbit,
        frame=int(one.acquisition.orbit.since_node_s / PERIOD_S * _FRAMES),
        direction=flight.track.direction,
        start=one.start,
        end=one.end,
        polarisations=("vv",),
        geometry=_geojson(whole),
        url=f"https://{written.granule}",
        size_bytes=written.granule_bytes,
        md5=written.granule_md5,
        processed=one.end + timedelta(hours=5),
        state_vectors=state_vectors(one),
    )


def _burst(one: SlcFlight, written: Written, burst: int) -> Burst:
    frame = one.acquisition.frame
    return Burst(
        id=one.burst_id(burst),
        full_id=one.full_id(burst),
        granule=one.granule,
        swath=SWATH,
        polarisation="vv",
        index=burst,
        start=one.acquisition.starts[burst],
        geometry=_geojson(Polygon(written.outlines[burst])),
        tiff_url=f"https://{written.tiffs[burst]}",
        xml_url=f"https://{written.xmls[burst]}",
        size_bytes=frame.lines * frame.samples * 4,
    )


def _geojson(shape: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(mapping(shape)))
    return found


def write_orbits(scene: Scene, survey: Survey | None, root: Path) -> list[dict[str, Any]]:
    """Write an orbit file for every flight of every track; returns their index entries.

    Files of the newest product and later flights are restituted; without products all files are precise.
    """
    latitude, longitude = scene.area.footprint.centroid.y, scene.area.footprint.centroid.x
    nominal = {
        swath.track.relative_orbit: survey.orbit
        if survey and swath.track == survey.track
        else find_orbit(swath.track, longitude, latitude, survey.orbit.epoch if survey else NO_DAY)
        for swath in scene.swaths
    }
    flown = (
        {one.flight.index: one.acquisition.orbit for one in overflights(survey, scene.parameters.seed)}
        if survey
        else {}
    )
    found = []
    for flight in scene.flights:
        orbit = flown.get(flight.index)
        if orbit is None:
            track = nominal[flight.track.relative_orbit]
            orbit, _ = displaced(track, flight, flight.index % 2 == 1, scene.parameters.seed)
        young = survey is not None and flight.instant >= survey.flights[-1].instant
        facts = write_orbit_file(orbit, flight, young, root / "blobs")
        found.append(_orbit_entry(facts))
    return found


def _orbit_entry(facts: OrbitFacts) -> dict[str, Any]:
    return {
        "file": facts.file,
        "platform": facts.platform,
        "start": facts.start.isoformat(),
        "end": facts.end.isoformat(),
        "kind": facts.kind,
    }


def _write_truth(scene: Scene, cover: Cover, flown: Sequence[SlcFlight], root: Path) -> None:
    """Coherence of each pair of consecutive passes, and the displacement, on the scene's grid."""
    grid, truth = scene.grid, root / "truth"
    track = flown[0].flight.track.relative_orbit
    for a, b in pairwise(flown):
        days = (b.flight.instant - a.flight.instant).total_seconds() / 86400
        kept = cover.coherence(days, (a.flight.slid, b.flight.slid))
        name = f"coherence_T{track:03d}_{a.start:%Y%m%d}_{b.start:%Y%m%d}.tif"
        write_cog(truth / name, np.asarray(kept, dtype=np.float32), grid.affine, grid.epsg, None)
    write_cog(
        truth / f"displacement_los_m_T{track:03d}.tif", cover.displacement_m, grid.affine, grid.epsg, None
    )
