"""What a pair will cost: bytes to fetch, disk, memory and hours. Rough, from what was run and measured."""

from __future__ import annotations

import math

from pydantic import Field

from pipeline.area import AreaOfInterest
from pipeline.catalogue.slc import Burst, Pair, SlcPass
from pipeline.insar.job import MOST_BURSTS, Backend
from pipeline.records import Frozen
from pipeline.settings import FetchMode as FetchMode
from pipeline.settings import settings

BURST_BYTES = 150_000_000
"""A burst whose size is not stated: the mean of recorded ones of IW1, IW2 and IW3 (139, 163 and 147 MB)."""
GRANULE_BYTES = 4_790_000_000
"""A granule whose size is not stated: the mean of 155 recorded ones with VV and VH (with VV alone: 2.8 GB)."""
BYTES_A_SAMPLE = 4
"""Samples are complex with two 16-bit integers."""

FULL_BURST_SAMPLES = BURST_BYTES / BYTES_A_SAMPLE
"""Of a whole burst: 1507 x 23055 (IW1), 1519 x 26818 (IW2), 1519 x 24229 (IW3) are recorded."""
SECONDS_A_SAMPLE: dict[Backend, float] = {"isce2": 2.0e-5, "pygmtsar": 4.4e-6}
"""On 2 cores, with azimuth looks 1 and range looks 5.

isce2: startup to geocode took 23 s for 1519 x 1000 samples and about 2 min for two bursts of 2000; a full burst is
then 12 min, as estimated by those who ran it (10 to 14 min). pygmtsar: 149 s for a full burst (1507 x 23055)
kept whole; less where the area needs a part of it (28 s for a twentieth).
"""
SCRATCH_BYTES_A_SAMPLE: dict[Backend, float] = {"isce2": 81, "pygmtsar": 30}
"""Measured for topsApp on two bursts, for pygmtsar on a full one (10 kept, the rest while a burst is in work); the
inputs come on top."""
PYGMTSAR_MEMORY_BYTES = 0.9e9, 170
"""The processor itself, and a sample of the one burst that is in work. Measured: 0.9 GB for 1507 x 1000 samples, 5.4 GB
for a full burst kept whole, 2.2 GB for a twentieth of it; a quarter is added."""
MEMORY_BYTES = ((1, 8e9), (3, 16e9), (MOST_BURSTS, 32e9))
"""What others allow topsApp for so many full bursts; two bursts of 2000 samples took 196 MB."""
LEAST_MEMORY_BYTES = 1e9
"""The processor itself, whatever the size of its bursts."""


class Estimate(Frozen):
    """What a pair will cost; where a pair is cut into jobs, disk and memory are those of the largest."""

    bytes_to_fetch: int = Field(description="of both overflights, in the mode asked for")
    bytes_whole_granules: int = Field(description="of every granule that the wanted bursts lie in")
    scratch_bytes: int = Field(description="inputs and intermediate files of one job")
    memory_bytes: int
    hours: float = Field(description="on 2 cores, all jobs one after the other")
    jobs: int


def fetch_mode(area: AreaOfInterest) -> FetchMode:
    """Whole granules where the area or the settings ask for them, else bursts."""
    asked = area.interferometry.fetch if area.interferometry else "bursts"
    return "granules" if "granules" in (asked, settings().slc_fetch) else "bursts"


def estimate(pair: Pair, mode: FetchMode = "bursts", backend: Backend = "isce2") -> Estimate:
    """Costs of a pair: its bursts' stated sizes, or means where none are stated, times what was measured."""
    sides = [_side(one, pair.burst_ids) for one in (pair.reference, pair.secondary)]
    in_bursts = sum(_burst_bytes(b) for _, bursts in sides for b in bursts)
    in_granules = sum(granule_bytes(one, pair.burst_ids) for one in (pair.reference, pair.secondary))
    samples = [_burst_bytes(b) / BYTES_A_SAMPLE for b in sides[0][1]]
    count = len(samples)
    jobs = math.ceil(count / MOST_BURSTS)
    largest = sum(sorted(samples, reverse=True)[: math.ceil(count / jobs)])
    to_fetch = in_bursts if mode == "bursts" else in_granules
    # a granule is unpacked beside its zip
    inputs = 2 * largest * BYTES_A_SAMPLE if mode == "bursts" else 2 * in_granules
    return Estimate(
        bytes_to_fetch=int(to_fetch),
        bytes_whole_granules=int(in_granules),
        scratch_bytes=int(largest * SCRATCH_BYTES_A_SAMPLE[backend] + inputs),
        memory_bytes=_memory_bytes(backend, math.ceil(count / jobs), largest, max(samples)),
        hours=round(sum(samples) * SECONDS_A_SAMPLE[backend] / 3600, 3),
        jobs=jobs,
    )


def bytes_of_all(pairs: tuple[Pair, ...], mode: FetchMode = "bursts") -> int:
    """Bytes to fetch for all pairs together: what two pairs share counts once."""
    sizes: dict[str, int] = {}
    for pair in pairs:
        for one in (pair.reference, pair.secondary):
            names, bursts = _side(one, pair.burst_ids)
            if mode == "bursts":
                sizes |= {burst.id: _burst_bytes(burst) for burst in bursts}
            else:
                sizes |= {g.name: g.size_bytes or GRANULE_BYTES for g in one.granules if g.name in names}
    return sum(sizes.values())


def granule_bytes(one: SlcPass, burst_ids: tuple[str, ...]) -> int:
    """Size of the granules of an overflight that hold any of the bursts."""
    names, _ = _side(one, burst_ids)
    return sum(g.size_bytes or GRANULE_BYTES for g in one.granules if g.name in names)


def _side(one: SlcPass, burst_ids: tuple[str, ...]) -> tuple[set[str], list[Burst]]:
    """Names of the granules, and the bursts, that the pair needs of one overflight."""
    bursts = [burst for burst in one.bursts if burst.full_id in set(burst_ids)]
    return {burst.granule for burst in bursts}, bursts


def _burst_bytes(burst: Burst) -> int:
    return burst.size_bytes or BURST_BYTES


def _memory_bytes(backend: Backend, bursts: int, samples: float, of_one_burst: float) -> int:
    if backend == "pygmtsar":
        return int(PYGMTSAR_MEMORY_BYTES[0] + PYGMTSAR_MEMORY_BYTES[1] * of_one_burst)
    allowed = next(allowance for most, allowance in MEMORY_BYTES if bursts <= most)
    share = samples / (bursts * FULL_BURST_SAMPLES)
    return int(max(LEAST_MEMORY_BYTES, allowed * min(1.0, share)))
