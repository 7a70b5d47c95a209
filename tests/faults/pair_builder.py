"""A build of passes and pairs that kills itself (SIGKILL) at the n-th operation on the disk.

Run it as `python -m tests.faults.pair_builder FOLDER N`, with the input in the parent of FOLDER; N = 0 never kills and
prints the number of operations. A processor of the test makes the pairs' products at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as build
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.slc import Pair, SlcHoldings
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube import versions
from pipeline.cube.local_store import LocalStore
from pipeline.insar.job import JobProducts
from pipeline.layers.interferometry import Interferometry
from pipeline.layers.kinds import KINDS
from tests.faults.writer import count_and_kill
from tests.unit.made_slc import repeats
from tests.unit.pipeline.build.test_build_pairs import PLACE, catalogue_of, here, scene_item
from tests.unit.pipeline.insar.products.test_products import job

FOUND = repeats(3)
"""Three passes; the middle one is listed late."""
LATE = SlcHoldings(granules=(FOUND.granules[0], FOUND.granules[2]), bursts=(FOUND.bursts[0], FOUND.bursts[2]))


def process(area: AreaOfInterest, pair: Pair, tiles: tuple[DemTile, ...]) -> tuple[JobProducts, ...]:
    """Coherence and phase by the days of the pair, in a new folder."""
    rng = np.random.default_rng(pair.reference.instant.day * 100 + pair.secondary.instant.day)
    phasor = rng.normal(size=(110, 120)) + 1j * rng.normal(size=(110, 120))
    return (job(Path(tempfile.mkdtemp()) / "job", rng.random((110, 120)), phasor, transform=PLACE),)


def main() -> None:
    """Two builds; the second has another pass in the middle, and two pairs instead of one."""
    folder, deadly = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(exist_ok=True)
    os.environ |= {
        "SLIDECUBE_DATA_DIR": str(folder / "data"),
        "SLIDECUBE_LOCAL_ITEMS": "true",
        "SLIDECUBE_INSAR_BACKEND": "pygmtsar",
        "SLIDECUBE_READ_CONCURRENCY": "1",
    }
    # without look geometry: it needs orbits and elevation, and is written like pairs
    others = tuple(kind for kind in KINDS if kind.name not in ("interferometry", "look"))
    kinds = (*others, Interferometry(process, obstacle=lambda mode: None))
    area, rtc = here(), scene_item(folder.parent / "vv.tif")
    operations = count_and_kill(deadly, remote=False)
    store = build.store_of(area)
    # once a version exists, the archive has the late pass too
    answers = (LATE, FOUND) if versions.current_version(store) is None else (FOUND,)
    for number, slc in enumerate(answers):
        replay = Path(save_catalogue(catalogue_of(area, rtc, slc), LocalStore(folder / str(number))))
        published = build.build(area, replay, kinds=kinds)
        assert not published.failed, published.failed
    print(operations())


if __name__ == "__main__":
    main()
