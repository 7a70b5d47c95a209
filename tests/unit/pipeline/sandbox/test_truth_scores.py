"""The score of a map beside the landslides that a world was simulated with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from numpy.typing import NDArray

from pipeline.sandbox.cli import sandbox as commands
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.truth_scores import score_map

LEFT, TOP, STEP = 400_000.0, 4_700_000.0, 10.0


def write(
    path: Path, values: NDArray[np.generic], left: float = LEFT, top: float = TOP, epsg: int = 32654
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"driver": "GTiff", "count": 1, "height": values.shape[0], "width": values.shape[1]}
    transform = Affine(STEP, 0, left, 0, -STEP, top)
    with rasterio.open(
        path, "w", **form, dtype=values.dtype.name, crs=f"EPSG:{epsg}", transform=transform
    ) as file:
        file.write(values, 1)
    return path.parent


@pytest.fixture
def world(tmp_path: Path) -> Path:
    slides = np.zeros((40, 40), dtype=np.int32)
    slides[10:20, 10:14] = 3
    return write(tmp_path / "world" / "truth" / "landslide_id.tif", slides).parent


def score_of(where: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(where, 0.9, 0.1).astype(np.float32)


def test_a_perfect_map_a_blind_one_and_the_reverse(world: Path, tmp_path: Path) -> None:
    truth = np.zeros((40, 40), dtype=bool)
    truth[10:20, 10:14] = True
    perfect = score_map(world, write(tmp_path / "perfect" / "probability.tif", score_of(truth)))
    assert (perfect.average_precision, perfect.prevalence, perfect.mapped) == (1.0, 40 / 1600, 1.0)
    blind = score_map(world, write(tmp_path / "blind" / "score.tif", np.zeros((40, 40), dtype=np.float32)))
    assert blind.average_precision == pytest.approx(blind.prevalence)
    reverse = score_map(world, write(tmp_path / "reverse" / "score.tif", score_of(~truth)))
    assert reverse.average_precision == pytest.approx(blind.prevalence)


def test_a_map_of_another_lattice_counts_where_both_are(world: Path, tmp_path: Path) -> None:
    part = np.full((30, 30), np.nan, dtype=np.float32)
    part[:15] = 0.5
    part[5:15, 5:9] = 0.8
    folder = write(tmp_path / "part" / "score.tif", part, LEFT + 5 * STEP, TOP - 5 * STEP)
    found = score_map(world, folder)
    assert (found.average_precision, found.pixels, found.mapped) == (1.0, 450, 0.5)
    assert found.prevalence == pytest.approx(40 / 450)
    assert "1.000" in CliRunner().invoke(commands, ["score", str(world), str(folder)]).output


@pytest.mark.parametrize("change", [{"left": LEFT + 1e6}, {"epsg": 32655}])
def test_a_map_of_another_place_is_refused(world: Path, tmp_path: Path, change: dict) -> None:
    with pytest.raises(SandboxError):
        score_map(world, write(tmp_path / "m" / "score.tif", np.zeros((4, 4), dtype=np.float32), **change))
    with pytest.raises(SandboxError):
        score_map(world, tmp_path)
