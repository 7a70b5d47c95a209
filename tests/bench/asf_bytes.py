"""Bytes to fetch in burst mode and as whole granules, for the four areas: computed, not measured.

The archive's own lists for the areas are not recorded and cannot be asked for here. So the sizes are recorded ones
and the numbers of bursts and granules come from geometry: the burst pattern of a recorded product is laid over each
area in many places, with the area inside the swath where it fits. `slidecube plan` gives the real figures.
"""

from __future__ import annotations

import math
from itertools import product
from statistics import mean

import numpy as np
import shapely
from pyproj import Transformer

from pipeline.areas.area import AreaOfInterest, load_area

SWATHS_KM = {"IW1": (1.0, 86.0), "IW2": (84.5, 174.1), "IW3": (172.6, 252.9)}
"""Valid samples across the track. IW1 and IW2: annotation of S1A_IW_SLC__1SDV_20230904T063730 (Morocco); IW3: width
of the recorded burst S1_372326_IW3_20180815T151558, with the overlap of the other two assumed."""
BURST_BYTES = {"IW1": 1507 * 23055 * 4, "IW2": 1519 * 26818 * 4, "IW3": 1519 * 24229 * 4}
"""Lines times samples times 4, of the same three."""
START_KM = {"IW1": 0.0, "IW2": 6.4, "IW3": 12.9}
"""Where the first burst of each begins along the track; IW3 assumed."""
CYCLE_KM, BURST_KM = 18.77, 21.1
"""From one burst to the next, and length of one: 2.7585 s and 3.1 s at 6.805 km/s over the ground (Morocco)."""
SLICE_KM, GRANULE_KM = 170.0, 184.0
"""Slices begin every 25 s and are 27 s long."""
GRANULE_BYTES = 4_787_000_000
"""Mean of 155 recorded granules with VV and VH; all of the areas' are taken in both."""
INCLINATION_DEG = 98.18
STEPS = 12
PASSES = {"hokkaido": 18, "kaikoura": 5, "talakmau": 20}
"""Of the published cubes; Puerto Rico's is not known."""


def over_the_track(area: AreaOfInterest, ascending: bool) -> shapely.Geometry:
    """The area in kilometres across and along a track through it (heading on a sphere, its turning left out)."""
    centre = area.footprint.centroid
    plane = Transformer.from_crs(
        4326, f"+proj=aeqd +lat_0={centre.y} +lon_0={centre.x} +units=km", always_xy=True
    )
    heading = math.asin(math.cos(math.radians(INCLINATION_DEG)) / math.cos(math.radians(centre.y)))
    heading = heading if ascending else math.pi - heading
    flat = shapely.transform(
        shapely.segmentize(area.footprint, 0.05),
        lambda xy: np.column_stack(plane.transform(xy[:, 0], xy[:, 1])),
    )

    def turned(xy: np.ndarray) -> np.ndarray:
        along = xy[:, 0] * math.sin(heading) + xy[:, 1] * math.cos(heading)
        across = xy[:, 0] * math.cos(heading) - xy[:, 1] * math.sin(heading)
        return np.column_stack([across, along])

    return shapely.transform(flat, turned)


def counts(ground: shapely.Geometry) -> list[tuple[int, int, int]]:
    """Bursts, their bytes and granules that meet `ground`, for every place of the pattern."""
    left, low, right, high = ground.bounds
    width = SWATHS_KM["IW3"][1] - SWATHS_KM["IW1"][0]
    room = max(0.0, width - (right - left))
    found = []
    for across, along, piece in product(range(STEPS), repeat=3):
        # the swath's near edge: from the area's near edge to where the far edges meet
        edge = left - SWATHS_KM["IW1"][0] - room * across / (STEPS - 1)
        begin = low - BURST_KM - CYCLE_KM * along / STEPS
        meeting = [
            swath
            for swath, (near, far) in SWATHS_KM.items()
            for number in range(math.ceil((high - begin) / CYCLE_KM) + 1)
            if shapely.box(
                edge + near,
                begin + START_KM[swath] % CYCLE_KM + number * CYCLE_KM,
                edge + far,
                begin + START_KM[swath] % CYCLE_KM + number * CYCLE_KM + BURST_KM,
            ).intersects(ground)
        ]
        first = low - GRANULE_KM - SLICE_KM * piece / STEPS
        granules = sum(
            first + n * SLICE_KM < high and first + n * SLICE_KM + GRANULE_KM > low
            for n in range(math.ceil((high - first) / SLICE_KM) + 1)
        )
        found.append((len(meeting), sum(BURST_BYTES[swath] for swath in meeting), granules))
    return found


def main() -> None:
    """Print the table."""
    print("computed from geometry and recorded sizes, not from the archive's lists of these areas")
    print("| area | bursts a pass | bursts, GB | granules a pass | granules, GB | ratio | all passes, GB |")
    print("|---|---|---|---|---|---|---|")
    for name in ("hokkaido", "kaikoura", "puerto-rico", "talakmau"):
        area = load_area(name)
        places = [c for ascending in (False, True) for c in counts(over_the_track(area, ascending))]
        bursts = [c[0] for c in places]
        in_bursts = mean(c[1] for c in places) / 1e9
        in_granules = mean(c[2] for c in places) * GRANULE_BYTES / 1e9
        passes = PASSES.get(name)
        total = (
            f"{passes} passes: {passes * in_bursts:.0f} against {passes * in_granules:.0f}" if passes else "-"
        )
        print(
            f"| {name} | {mean(bursts):.1f} ({min(bursts)} to {max(bursts)}) | {in_bursts:.2f} | "
            f"{mean(c[2] for c in places):.2f} | {in_granules:.1f} | 1 : {in_granules / in_bursts:.1f} | {total} |"
        )


if __name__ == "__main__":
    main()
