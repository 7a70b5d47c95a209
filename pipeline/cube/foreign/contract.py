"""The contract of a cube that slidecube did not build: names, dimensions, units, label codes, positions, times.

    timestep            times of the passes, UTC; from 2014-04-03 on, when the first Sentinel-1 satellite was launched
    y, x                pixel centres of a projected reference system, in metres
    vv, vh              (timestep, y, x) linear power; not decibels, not digital numbers
    landslides          (y, x) 1 landslide, 0 none, NaN not mapped. Where there is no 0, NaN is taken as none, which the
                        attribute `label_nan_assumed` states: so are the labels of the published cubes
    dem                 (y, x) metres
    dem_slope_radians   (y, x) 0 to pi/2
    dem_aspect          (y, x) degrees, 0 to 360
    coherence           (timepair, y, x) 0 to 1
    local_incidence_deg (track, y, x) degrees

Other variables are not read. A unit may be declared in the attribute `units`; one that is not is judged by the values.
Nothing is converted by a guess: what is not met is named, all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.cube.encoding.georeference import recorded_crs
from pipeline.cube.schema import BACKSCATTER, VARIABLES
from pipeline.errors import CubeError
from pipeline.grid import MOST_PIXELS

FIRST_PASS = np.datetime64("2014-04-03", "us")
"""Launch of Sentinel-1A (ESA)."""
METRES = frozenset({"", "m", "metre", "meter", "metres", "meters"})
DEGREES = frozenset({"", "deg", "degree", "degrees", "°"})
RADIANS = frozenset({"", "rad", "radian", "radians"})
POWER = frozenset(
    {
        "",
        "1",
        "linear",
        "power",
        "linear power",
        "gamma0",
        "gamma nought",
        "sigma0",
        "m2/m2",
        "m2 m-2",
        "none",
    }
)
"""What the attribute `units` may be, in small letters, without blanks around it."""
UNITS: dict[str, frozenset[str]] = {
    "vv": POWER,
    "vh": POWER,
    "dem": METRES,
    "dem_slope_radians": RADIANS,
    "dem_aspect": DEGREES,
    "local_incidence_deg": DEGREES,
    "interferogram": RADIANS,
    "coherence": POWER,
}
RANGES: dict[str, tuple[float, float, str]] = {
    "dem_slope_radians": (0.0, 1.5708, "radians"),
    "dem_aspect": (0.0, 360.0, "degrees"),
    "coherence": (0.0, 1.01, "a share from 0 to 1"),
    "local_incidence_deg": (0.0, 180.0, "degrees"),
}
"""Least and largest value, and the unit that they are of; a hundredth of the width more is accepted."""
NO_DATA = (-9999.0, -32768.0, -32767.0)
"""Codes of pixels without data that are often left in elevation; a cube has NaN there."""
LEAST_PIXEL_M = 0.1
"""Smaller pixels are degrees or kilometres."""
MOST_MEDIAN_POWER = 10.0
"""The median of published cubes is 0.2 for VV and 0.05 for VH (linear); digital numbers are hundreds."""
SAMPLE_PX = 128
MOST_CODES = 8
"""label codes that an error lists"""


CORRECT = "Correct the cube (docs/cube.md has the contract), or make it of GeoTIFFs with `slidecube import`."


class ContractError(CubeError):
    """A cube from elsewhere does not meet the contract; `problems` names what."""

    def __init__(self, where: str, problems: tuple[str, ...], remedy: str = CORRECT) -> None:
        super().__init__(
            f"{where} does not meet the contract of cubes from elsewhere: {'; '.join(problems)}.", remedy
        )
        self.problems = problems


def check_contract(cube: xr.Dataset, where: str, *, published: bool = False) -> None:
    """Check a cube that slidecube did not build.

    Args:
        where: its path or URI, for the error.
        published: whether it is one of the cubes published with the paper: any label above 0 is a landslide, and only
            backscatter is judged by its values.

    Raises:
        ContractError: something is not met; all of it is named.
    """
    found = list(_size_problems(cube))
    if not found:
        found = [*_name_problems(cube), *_position_problems(cube), *_time_problems(cube)]
        for name in sorted(set(UNITS) & set(map(str, cube.data_vars))):
            if not published or name in BACKSCATTER:
                found += _unit_problems(cube, name)
        found += _label_problems(cube, published)
    if found:
        raise ContractError(where, tuple(found))


def _size_problems(cube: xr.Dataset) -> Iterator[str]:
    """Before anything is read."""
    pixels = cube.sizes.get("y", 1) * cube.sizes.get("x", 1)
    if pixels > MOST_PIXELS:
        yield f"it has {pixels:,} pixels, of at most {MOST_PIXELS:,}"


def _name_problems(cube: xr.Dataset) -> Iterator[str]:
    known = {name.lower(): name for name in VARIABLES}
    for name in map(str, cube.data_vars):
        wanted = known.get(name.lower())
        if wanted is None:
            continue
        if name != wanted:
            if wanted not in cube:
                yield f"the variable {name!r} must be named {wanted!r}"
            continue
        dims = VARIABLES[name].dims
        if set(cube[name].dims) != set(dims):
            yield f"{name} has the dimensions ({', '.join(map(str, cube[name].dims))}), not ({', '.join(dims)})"
        elif cube[name].dtype.kind not in "fiub":
            yield f"{name} holds {cube[name].dtype}, no numbers"


def _position_problems(cube: xr.Dataset) -> Iterator[str]:
    crs = recorded_crs(cube)
    if crs is not None and crs.is_geographic:
        yield f"it lies in degrees ({crs.to_string()[:40]}), not in a projected system in metres"
        return
    if crs is not None and abs(crs.linear_units_factor[1] - 1) > 1e-9:
        yield f"its reference system is in {crs.linear_units_factor[0]}, not in metres"
    for name in ("y", "x"):
        if name not in cube.coords:
            yield f"it has no coordinate {name!r}"
            continue
        values = np.asarray(cube[name].values)
        declared = str(cube[name].attrs.get("units", "")).strip().lower()
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            yield f"the coordinate {name!r} holds values that are no numbers"
        elif declared not in METRES:
            yield f"the coordinate {name!r} is in {declared!r:.40}, not in metres"
        elif values.size > 1 and abs(float(values[1]) - float(values[0])) < LEAST_PIXEL_M:
            step = abs(float(values[1]) - float(values[0]))
            yield f"the pixels are {step:g} wide along {name}: degrees or kilometres, not metres"


def _time_problems(cube: xr.Dataset) -> Iterator[str]:
    if "timestep" not in cube.coords or cube["timestep"].dtype.kind != "M":
        return
    times = cube["timestep"].values.astype("datetime64[us]")
    if np.isnat(times).any():
        yield f"{int(np.isnat(times).sum())} of {times.size} times are not given"
        return
    latest = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us") + np.timedelta64(1, "D")
    for wrong in times[(times < FIRST_PASS) | (times > latest)][:1]:
        yield f"the pass of {str(wrong)[:19]} is no time of a Sentinel-1 satellite"


def _unit_problems(cube: xr.Dataset, name: str) -> Iterator[str]:
    """By the declared unit, and by a sample of the values."""
    array = cube[name]
    if array.dtype.kind not in "fiub" or not {"y", "x"} <= set(array.dims):
        return
    declared = str(array.attrs.get("units", "")).strip()
    if declared.lower() not in UNITS[name]:
        yield f"{name} is declared to be in {declared!r:.40}"
        return
    values = _sample(array)
    if values.size == 0:
        return
    if name in BACKSCATTER:
        yield from _power_problems(name, values)
    elif name == "dem":
        for code in sorted(set(NO_DATA) & set(np.unique(values).tolist())):
            yield f"dem holds {code:g}, which is no elevation; NaN where it is unknown"
    elif name in RANGES:
        least, most, unit = RANGES[name]
        margin = 0.01 * (most - least)
        low, high = float(values.min()), float(values.max())
        if low < least - margin or high > most + margin:
            yield f"{name} has values from {low:g} to {high:g}, not {unit}"
        elif name == "dem_aspect" and values.size > SAMPLE_PX and 1.0 < high <= 6.2833:
            yield f"{name} has values up to {high:.3f}: radians, not degrees"


def _power_problems(name: str, values: NDArray[np.float64]) -> Iterator[str]:
    values = values[values != 0]  # many files fill borders with 0
    if values.size == 0:
        return
    negative, median = float((values < 0).mean()), float(np.median(values))
    if negative > 0.5:
        yield f"{name} has a median of {median:.2f}: decibels, not linear power"
    elif negative > 0.05:
        yield f"{name} is negative in {negative:.0%} of its pixels: no linear power"
    elif median > MOST_MEDIAN_POWER:
        yield f"{name} has a median of {median:,.0f}: digital numbers or amplitudes, not linear power"


def _sample(array: xr.DataArray) -> NDArray[np.float64]:
    """The finite values of nine windows in three layers of an array."""
    chosen: dict[str, NDArray[np.int64]] = {}
    for dim, size in array.sizes.items():
        if dim in ("y", "x"):
            starts = np.linspace(0, max(0, size - SAMPLE_PX), 3).astype(int)
            chosen[str(dim)] = np.unique([np.arange(s, min(s + SAMPLE_PX, size)) for s in starts])
        else:
            chosen[str(dim)] = np.unique(np.linspace(0, max(0, size - 1), 3).round().astype(int))[:size]
    values = np.asarray(array.isel(chosen).values, dtype=np.float64)
    return values[np.isfinite(values)]


def label_codes(labels: xr.DataArray) -> set[float]:
    """Every value of the labels, NaN left out; of more than a thousand, some."""
    codes: set[float] = set()
    rows = max(1, 2**22 // max(1, labels.sizes["x"]))
    for start in range(0, labels.sizes["y"], rows):
        values = np.asarray(labels.isel(y=slice(start, start + rows)).values, dtype=np.float64)
        codes |= set(np.unique(values[~np.isnan(values)])[:1000].tolist())
        if len(codes) > 1000:
            break
    return codes


def _label_problems(cube: xr.Dataset, any_positive: bool) -> Iterator[str]:
    if "landslides" not in cube or set(cube["landslides"].dims) != {"y", "x"}:
        return
    if cube["landslides"].dtype.kind not in "fiub":
        return
    allowed: Callable[[float], bool] = (
        (lambda c: 0 <= c < np.inf) if any_positive else (lambda c: c in (0, 1))
    )
    wrong = sorted(code for code in label_codes(cube["landslides"]) if not allowed(code))
    if wrong:
        shown = ", ".join(f"{code:g}" for code in wrong[:MOST_CODES])
        more = f" and {len(wrong) - MOST_CODES} more" if len(wrong) > MOST_CODES else ""
        yield f"landslides holds {shown}{more}: only 1 (landslide), 0 (none) and NaN (not mapped) have a meaning"
