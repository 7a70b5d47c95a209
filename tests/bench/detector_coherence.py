"""What temporal coherence adds to the detector on simulated events with the effects of real scenes.

`python -m tests.bench.detector_coherence CUBE ...`, cubes of `python -m tests.bench.event_cubes`.

The coherence of a pair is that of the simulator's land cover (`pipeline.sandbox.earth.cover`), estimated from `LOOKS`
independent samples on a lattice of `LATTICE_PX` pixels. With so many looks ground that lost all coherence has 0.33 in
the mean, as the pairs of the sandbox's own processor have it on the demo's landslides.

- loss: two pairs before the event minus the pair across it, known after the first pass of each track.
- recovery: the pair of the first two passes after the event minus the pair across it.

Either is taken in units of its own spread over the scene, and joined with the score by the root of the sum of squares,
where it is positive.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from model.inputs.cubes import load
from model.scores.intervals import over_events
from model.scores.scores import Ranking
from pipeline.sandbox.earth.cover import make_cover
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.scene import make_scene
from pipeline.sandbox.simulated_cube import square_area
from tests.bench.acceptance import window_of
from tests.bench.detector import detected
from tests.bench.event_cubes import SIDE_PX

Array = NDArray[np.float32]
LOOKS = 7
LATTICE_PX = 2
JOINED = {"loss, weight 0.5": ("loss", 0.5), "loss, weight 1": ("loss", 1.0), "recovery": ("recovery", 1.0)}
NOT_SEARCHED = np.float32(-99)


def estimated(coherence: Array, rng: np.random.Generator) -> Array:
    """(y, x) the size of the complex correlation of `LOOKS` samples whose true coherence is given."""
    height, width = (side // LATTICE_PX * LATTICE_PX for side in coherence.shape)
    blocks = coherence[:height, :width].reshape(
        height // LATTICE_PX, LATTICE_PX, width // LATTICE_PX, LATTICE_PX
    )
    true = blocks.mean((1, 3))
    draws = rng.normal(size=(2, LOOKS, 2, *true.shape))
    first, noise = draws[:, :, 0] + 1j * draws[:, :, 1]
    second = true * first + np.sqrt(1 - true**2) * noise
    powers = (np.abs(first) ** 2).sum(0) * (np.abs(second) ** 2).sum(0)
    found = np.abs((first * second.conj()).sum(0)) / np.sqrt(powers)
    fine = np.kron(found, np.ones((LATTICE_PX, LATTICE_PX)))
    missing = [(0, whole - got) for whole, got in zip(coherence.shape, fine.shape, strict=True)]
    return np.pad(fine, missing, mode="edge").astype(np.float32)


def changes(parameters: WorldParameters, searched: NDArray[np.bool_]) -> dict[str, Array]:
    """(y, x) loss and recovery of coherence of all tracks, each track in units of its spread over the scene."""
    area = square_area(SIDE_PX)
    scene = make_scene(area, parameters)
    middle = area.footprint.centroid
    cover, window = make_cover(scene, (middle.x, middle.y), 1.0, 0.0), window_of(scene)
    rng = np.random.default_rng(parameters.seed)
    found: dict[str, list[Array]] = {"loss": [], "recovery": []}
    for track in parameters.tracks:
        flights = [one for one in scene.flights if one.track.relative_orbit == track.relative_orbit]
        last = max(number for number, flight in enumerate(flights) if not flight.slid)

        def pair(first: int, flights: list[Flight] = flights) -> Array:
            one, other = flights[first : first + 2]
            days = (other.instant - one.instant).total_seconds() / 86400
            return estimated(cover.coherence(days, (one.slid, other.slid))[window], rng)

        before, across, after = (pair(last - 2) + pair(last - 1)) / 2, pair(last), pair(last + 1)
        for name, change in (("loss", before - across), ("recovery", after - across)):
            middle_value = np.median(change[searched])
            spread = 1.4826 * np.median(np.abs(change[searched] - middle_value))
            found[name].append((change - middle_value) / spread)
    return {name: np.sum(parts, axis=0) / np.sqrt(len(parts)) for name, parts in found.items()}


def main(paths: list[str]) -> None:
    """A row for each event, then what is gained over events."""
    rows: dict[str, list[float]] = {}
    for path in paths:
        cube, facts = load(path)
        parameters = WorldParameters.model_validate_json(cube.attrs["simulated_event"])
        labels = np.asarray(cube.landslides.values)
        scores = {count: np.asarray(detected(cube, None, count).score) for count in (1, 2)}
        searched = scores[1] > 0
        by_name = changes(parameters, searched)
        made = {"detector": scores[1], "detector, two passes": scores[2], **by_name}
        for name, (change, weight) in JOINED.items():
            score = scores[2 if change == "recovery" else 1]
            made[f"detector and {name}"] = np.hypot(score, weight * np.clip(by_name[change], 0, None))
        known = np.isfinite(labels) & np.isfinite(scores[1])
        for name, values in made.items():
            kept = np.where(searched, values, NOT_SEARCHED)[known]
            rows.setdefault(name, []).append(Ranking.of(kept, labels[known] > 0).auprc)
        print(facts.area, {name: round(values[-1], 3) for name, values in rows.items()}, flush=True)
    for name, values in rows.items():
        base = rows["detector, two passes" if "recovery" in name else "detector"]
        line = f"{name:34}{np.mean(values):8.3f}"
        if len(paths) > 1 and name != "detector":
            over = over_events([value - before for value, before in zip(values, base, strict=True)])
            line += f"{over.mean:+8.3f} [{over.lower:+.3f}, {over.upper:+.3f}]"
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
