"""Estimated costs of a pair: bytes to fetch, disk, memory and hours, from measured runs."""

from __future__ import annotations

import math

from pydantic import Field

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.slc import Burst, Pair, SlcPass
from pipeline.insar.job import MOST_BURSTS, REMOTE, Backend
from pipeline.records import Frozen
from pipeline.settings import FetchMode as FetchMode
from pipeline.settings import settings

BURST_BYTES = 150_000_000
"""Assumed for a burst of unknown size: the mean of recorded bursts of IW1, IW2 and IW3 (139, 163 and 147 MB)."""
GRANULE_BYTES = 4_790_000_000
"""Assumed for a granule of unknown size: the mean of 155 recorded granules with VV and VH (with VV alone: 2.8 GB)."""
BYTES_A_SAMPLE = 4
"""A sample is complex, with two 16-bit integers."""

FULL_BURST_SAMPLES = BURST_BYTES / BYTES_A_SAMPLE
"""Samples of a whole burst. Recorded: 1507 x 23055 (IW1), 1519 x 26818 (IW2), 1519 x 24229 (IW3)."""
SECONDS_A_SAMPLE: dict[Backend, float] = {"isce2": 2.0e-5, "pygmtsar": 4.4e-6, "hyp3": 2.0e-5}
"""On 2 cores, with azimuth looks 1 and range looks 5.

isce2: startup to geocode took 23 s for 1519 x 1000 samples and about 2 min for two bursts of 2000. A full burst then
takes 12 min (estimated: 10 to 14 min). pygmtsar: 149 s for a complete full burst (1507 x 23055),
and less if the area needs a part of it (28 s for a twentieth). hyp3 runs ISCE2 too, of which the same is assumed, at
ASF and without the wait for its turn.
"""
SCRATCH_BYTES_A_SAMPLE: dict[Backend, float] = {"isce2": 81, "pygmtsar": 30, "hyp3": 12}
"""Without the inputs. Measured for topsApp on two bursts, for pygmtsar on a full burst (10 remain, the others are freed
after each burst)."""
PRODUCT_BYTES_A_SAMPLE = 5.6
"""Of a service's product: ten rasters of 4 bytes a pixel of 20 m, of 14 m x 4 m of ground a sample; not measured, and
a quarter or a sixteenth of it with more looks."""
PYGMTSAR_MEMORY_BYTES = 0.9e9, 170
"""Bytes of the processor itself, and bytes for each sample of the burst in process. Measured: 0.9 GB for 1507 x 1000
samples, 5.4 GB for a complete full burst, 2.2 GB for a twentieth of it; a quarter is added."""
MEMORY_BYTES = ((1, 8e9), (3, 16e9), (MOST_BURSTS, 32e9))
"""Memory that other users allow topsApp, by the number of full bursts; two bursts of 2000 samples took 196 MB."""
LEAST_MEMORY_BYTES = 1e9
"""Bytes of the processor itself, for any size of bursts."""


class Estimate(Frozen):
    """Estimated costs of a pair. If it is divided into jobs, disk and memory are those of the largest job."""

    bytes_to_fetch: int = Field(description="of both overflights, in the requested mode")
    bytes_whole_granules: int = Field(description="of every granule with a requested burst")
    scratch_bytes: int = Field(description="inputs and intermediate files of one job")
    memory_bytes: int
    hours: float = Field(description="on 2 cores, all jobs one after the other")
    jobs: int


def fetch_mode(area: AreaOfInterest) -> FetchMode:
    """Whole granules if the area or the settings ask for them, else bursts."""
    asked = area.interferometry.fetch if area.interferometry else "bursts"
    return "granules" if "granules" in (asked, settings().slc_fetch) else "bursts"


def estimate(pair: Pair, mode: FetchMode = "bursts", backend: Backend = "isce2") -> Estimate:
    """Costs of a pair, from the sizes of its bursts (or mean sizes if unknown) and measured costs a sample."""
    needed = [_needed(one, pair.burst_ids) for one in (pair.reference, pair.secondary)]
    in_bursts = sum(_burst_bytes(b) for _, bursts in needed for b in bursts)
    in_granules = sum(granule_bytes(one, pair.burst_ids) for one in (pair.reference, pair.secondary))
    samples = [_burst_bytes(b) / BYTES_A_SAMPLE for b in needed[0][1]]
    count = len(samples)
    jobs = math.ceil(count / MOST_BURSTS)
    largest = sum(sorted(samples, reverse=True)[: math.ceil(count / jobs)])
    to_fetch: float = in_bursts if mode == "bursts" else in_granules
    # a granule is unpacked in the folder of its zip
    inputs: float = 2 * largest * BYTES_A_SAMPLE if mode == "bursts" else 2 * in_granules
    if backend in REMOTE:
        to_fetch, inputs = _product_bytes(pair), 0
    return Estimate(
        bytes_to_fetch=int(to_fetch),
        bytes_whole_granules=int(in_granules),
        scratch_bytes=int(largest * SCRATCH_BYTES_A_SAMPLE[backend] + inputs),
        memory_bytes=_memory_bytes(backend, math.ceil(count / jobs), largest, max(samples)),
        hours=round(sum(samples) * SECONDS_A_SAMPLE[backend] / 3600, 3),
        jobs=jobs,
    )


def bytes_of_all(pairs: tuple[Pair, ...], mode: FetchMode = "bursts", backend: Backend = "isce2") -> int:
    """Bytes to fetch for all pairs; files that pairs share count once. Of a service, the bytes of its products."""
    if backend in REMOTE:
        return sum(_product_bytes(pair) for pair in pairs)
    sizes: dict[str, int] = {}
    for pair in pairs:
        for one in (pair.reference, pair.secondary):
            names, bursts = _needed(one, pair.burst_ids)
            if mode == "bursts":
                sizes |= {burst.id: _burst_bytes(burst) for burst in bursts}
            else:
                sizes |= {g.name: g.size_bytes or GRANULE_BYTES for g in one.granules if g.name in names}
    return sum(sizes.values())


def granule_bytes(one: SlcPass, burst_ids: tuple[str, ...]) -> int:
    """Size of the granules of an overflight with at least one of the bursts."""
    names, _ = _needed(one, burst_ids)
    return sum(g.size_bytes or GRANULE_BYTES for g in one.granules if g.name in names)


def _needed(one: SlcPass, burst_ids: tuple[str, ...]) -> tuple[set[str], list[Burst]]:
    """Granule names and bursts that the pair needs of one overflight."""
    bursts = [burst for burst in one.bursts if burst.full_id in set(burst_ids)]
    return {burst.granule for burst in bursts}, bursts


def _product_bytes(pair: Pair) -> int:
    """Bytes of a service's products of a pair."""
    _, bursts = _needed(pair.reference, pair.burst_ids)
    return int(sum(map(_burst_bytes, bursts)) / BYTES_A_SAMPLE * PRODUCT_BYTES_A_SAMPLE)


def _burst_bytes(burst: Burst) -> int:
    return burst.size_bytes or BURST_BYTES


def _memory_bytes(backend: Backend, bursts: int, samples: float, of_one_burst: float) -> int:
    if backend in REMOTE:
        return int(LEAST_MEMORY_BYTES)
    if backend == "pygmtsar":
        return int(PYGMTSAR_MEMORY_BYTES[0] + PYGMTSAR_MEMORY_BYTES[1] * of_one_burst)
    allowed = next(allowance for most, allowance in MEMORY_BYTES if bursts <= most)
    share = samples / (bursts * FULL_BURST_SAMPLES)
    return int(max(LEAST_MEMORY_BYTES, allowed * min(1.0, share)))
