"""Every hostile document and file ends in an error by name or in no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outcomes import BAD
from tests.faults.tally import CLASSES, outcomes_of

LEAST = {"area files": 200, "items of a search": 300, "rasters": 100, "zips": 100, "manifests": 100}

# files that are odd on purpose make GDAL's readers warn
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_hostile_inputs(tmp_path: Path, name: str) -> None:
    found = list(outcomes_of(name, tmp_path))
    assert [one for one in found if one[1] in BAD] == []
    assert len(found) >= LEAST.get(name, 50)
