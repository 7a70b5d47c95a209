"""The ground in radar geometry: the point of the scene in each line and sample.

The points are first computed along the lines of the nominal orbit at one height, where the geometry is smooth. The
terrain then displaces them in range, with a parabola in height between a few exact nodes. In layover the point with the
smallest ground range is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.elevation.geoid import undulation_m
from pipeline.sandbox.earth.mirror import mirrored, place
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.slc.acquisition import Acquisition
from pipeline.sandbox.slc.frame import Survey
from pipeline.sandbox.slc.instrument import LINE_S, SAMPLE_M
from pipeline.sandbox.slc.wgs84 import Array, earth_fixed, geodetic, to_ground, zero_doppler

Single = NDArray[np.float32]

PAD_LINES, PAD_SAMPLES = 24, 40
"""Simulated margin around a burst, for filters and for displaced orbits."""
_NODE_LINES, _NODE_SAMPLES = 32, 64


@dataclass(frozen=True)
class Nodes:
    """Points at which the geometry is computed exactly; `heights_m` (3,) above the ellipsoid.

    `points` (height, line, sample, 3) are earth-fixed. `longitude_deg` and `latitude_deg` (line, sample) are the same
    at every height. `nominal_line` and `nominal_range_m` (height, line, sample) are their positions for the nominal
    orbit.
    """

    lines: Array
    samples: Array
    heights_m: Array
    longitude_deg: Array
    latitude_deg: Array
    points: Array
    nominal_line: Array
    nominal_range_m: Array


@dataclass(frozen=True)
class BurstGround:
    """Every line and sample of a padded burst: (line, sample), the first at (-PAD_LINES, -PAD_SAMPLES).

    `row` and `column` are positions on the scene's grid, `height_m` is above the ellipsoid, `along` is the sample of
    the point at the reference height, `spread` is the ground in a sample relative to flat ground.
    """

    burst: int
    nodes: Nodes
    row: NDArray[np.float32]
    column: NDArray[np.float32]
    height_m: NDArray[np.float32]
    along: NDArray[np.float32]
    spread: NDArray[np.float32]

    def parabola(self, values: Array) -> Array:
        """(line, sample) values on this ground, interpolated from values at the nodes (height, line, sample)."""
        return _evaluate(self.nodes, values, self.along, self.height_m, -PAD_LINES)


def outline_deg(survey: Survey, burst: int, height_m: float) -> Array:
    """(4, 2) corners of a burst at a height, longitude and latitude."""
    frame = survey.frame
    t0, far = frame.starts_s[burst], frame.near_m + frame.samples * SAMPLE_M
    t1 = t0 + frame.lines * LINE_S
    t = np.array([t0, t0, t1, t1])
    points = to_ground(
        survey.orbit, t, np.array([frame.near_m, far, far, frame.near_m]), np.full(4, height_m)
    )
    longitude, latitude, _ = geodetic(points)
    return np.stack([longitude, latitude], axis=-1)


def footprint_deg(survey: Survey, margin_deg: float) -> tuple[float, float, float, float]:
    """West, south, east, north of all bursts with a margin."""
    points = np.array(
        [
            point
            for burst in range(len(survey.frame.starts_s))
            for height in survey.height_m
            for point in outline_deg(survey, burst, height)
        ]
    )
    west, south, east, north = (float(v) for v in (*points.min(axis=0), *points.max(axis=0)))
    return west - margin_deg, south - margin_deg, east + margin_deg, north + margin_deg


def burst_ground(scene: Scene, survey: Survey, burst: int) -> BurstGround:
    """The ground of a burst; the terrain is mirrored at the scene's edges."""
    frame = survey.frame
    nodes = _nodes(survey, burst)
    rows, columns = place(scene.grid, nodes.longitude_deg, nodes.latitude_deg)
    undulation = undulation_m(nodes.latitude_deg, nodes.longitude_deg)
    lines = np.arange(-PAD_LINES, frame.lines + PAD_LINES)
    along = np.arange(nodes.samples[0], nodes.samples[-1] + 1.0)
    shape = len(lines), len(along)
    everywhere = np.broadcast_to(along, shape)
    elevation = mirrored(
        scene.relief.elevation_m,
        _smooth(nodes, rows, everywhere, -PAD_LINES),
        _smooth(nodes, columns, everywhere, -PAD_LINES),
        order=1,
    )
    height = elevation + _smooth(nodes, undulation, everywhere, -PAD_LINES)
    nominal = (nodes.nominal_range_m - frame.near_m) / SAMPLE_M - nodes.samples
    seen = everywhere + _evaluate(nodes, nominal, everywhere, height, -PAD_LINES)
    seen = np.maximum.accumulate(seen, axis=1)
    wanted = np.arange(-PAD_SAMPLES, frame.samples + PAD_SAMPLES, dtype=np.float64)
    found = np.stack([np.interp(wanted, line, along) for line in seen])
    ground = np.stack(
        [np.interp(here, along, line) for here, line in zip(found, height, strict=True)], dtype=np.float32
    )
    return BurstGround(
        burst=burst,
        nodes=nodes,
        row=_smooth(nodes, rows, found, -PAD_LINES).astype(np.float32),
        column=_smooth(nodes, columns, found, -PAD_LINES).astype(np.float32),
        height_m=ground,
        along=found.astype(np.float32),
        spread=np.clip(np.gradient(found, axis=1), 0.2, 5.0).astype(np.float32),
    )


def _nodes(survey: Survey, burst: int) -> Nodes:
    frame = survey.frame
    low, high = survey.height_m
    middle = (low + high) / 2
    reach = PAD_SAMPLES + 20 + int((high - middle) / SAMPLE_M)
    lines = np.arange(-PAD_LINES, frame.lines + PAD_LINES + _NODE_LINES, _NODE_LINES, dtype=np.float64)
    samples = np.arange(-reach, frame.samples + reach + _NODE_SAMPLES, _NODE_SAMPLES, dtype=np.float64)
    t = np.broadcast_to((frame.starts_s[burst] + lines * LINE_S)[:, None], (len(lines), len(samples)))
    range_m = np.broadcast_to(frame.near_m + samples * SAMPLE_M, t.shape)
    longitude, latitude, _ = geodetic(to_ground(survey.orbit, t, range_m, np.full(t.shape, middle)))
    heights = np.array([low - 1.0, middle, high + 1.0])
    points = np.stack([earth_fixed(longitude, latitude, np.full(t.shape, h)) for h in heights])
    start = frame.starts_s[burst]
    seen, nominal_range_m = zero_doppler(survey.orbit, points, start + lines[None, :, None] * LINE_S)
    return Nodes(
        lines=lines,
        samples=samples,
        heights_m=heights,
        longitude_deg=longitude,
        latitude_deg=latitude,
        points=points,
        nominal_line=(seen - start) / LINE_S,
        nominal_range_m=nominal_range_m,
    )


def offsets(ground: BurstGround, acquisition: Acquisition) -> tuple[Array, Array, Array]:
    """(line, sample) lines, samples and slant ranges (m) of this ground for an overflight, minus the nominal ones."""
    nodes, orbit = ground.nodes, acquisition.orbit
    guess = acquisition.start_s(ground.burst) + nodes.lines[:, None] * LINE_S
    lines, ranges = [], []
    for points, line, range_m in zip(nodes.points, nodes.nominal_line, nodes.nominal_range_m, strict=True):
        t, seen_m = zero_doppler(orbit, points, guess)
        lines.append(acquisition.line(ground.burst, t) - line)
        ranges.append(seen_m - range_m)
    line, range_m = ground.parabola(np.array(lines)), ground.parabola(np.array(ranges))
    return line, range_m / SAMPLE_M, range_m


def _evaluate(
    nodes: Nodes, values: Array, along: Array | Single, height: Array | Single, first_line: int
) -> Array:
    low, middle, high = nodes.heights_m
    # Newton's form of the parabola through the three heights
    slope = (values[1] - values[0]) / (middle - low)
    bend = ((values[2] - values[1]) / (high - middle) - slope) / (high - low)
    total = _smooth(nodes, bend, along, first_line)
    total *= height - middle
    total += _smooth(nodes, slope, along, first_line)
    total *= height - low
    total += _smooth(nodes, values[0], along, first_line)
    return total


def _smooth(nodes: Nodes, values: Array, along: Array | Single, first_line: int) -> Array:
    """(line, sample) values interpolated linearly between nodes; `along` are the samples of each line."""
    lines = (first_line + np.arange(along.shape[0]) - nodes.lines[0]) / _NODE_LINES
    rows = ndimage.map_coordinates(
        values,
        np.stack(np.meshgrid(lines, np.arange(values.shape[1], dtype=np.float64), indexing="ij")),
        order=1,
        mode="nearest",
    )
    position = (along - nodes.samples[0]) / _NODE_SAMPLES
    left = np.clip(position.astype(np.int32), 0, values.shape[1] - 2)
    part = position - left
    begin = np.take_along_axis(rows, left, axis=1)
    return np.asarray(begin + part * (np.take_along_axis(rows, left + 1, axis=1) - begin))
