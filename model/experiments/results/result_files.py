"""Results of trials as files: `<digest>.json`, and `<digest>.npz` with the scores of the tested rectangle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.experiments.results.prediction import Outcome
from model.experiments.results.results import TrialResult
from model.inputs.cubes import UNMAPPED
from pipeline.files import UnreadableError, read_regular, whole_file, write_whole

TRIALS = "trials"
"""folder of these files in the folder of an ablation or a ladder"""
MOST_RESULT_BYTES = 64 * 2**20
"""of a result without its scores; one has some 20 kB"""


def read_result(file: Path) -> TrialResult | None:
    """A result that was written before; None: there is none, or one of its files is missing, damaged or too large."""
    if not file.is_file() or not file.with_suffix(".npz").is_file():
        return None
    try:
        return TrialResult.model_validate_json(read_regular(file, MOST_RESULT_BYTES))
    except (ValueError, UnreadableError):
        return None


def write_result(file: Path, result: TrialResult, outcome: Outcome) -> None:
    """Write the scores first, then the result: if the result exists, both files are complete.

    Raises:
        OSError: the folder cannot be written.
    """
    box, pixels = outcome.box, outcome.tested
    labels = np.where(pixels.scored, pixels.labels, np.uint8(UNMAPPED))
    with whole_file(file.with_suffix(".npz")) as partial:
        np.savez_compressed(
            partial,
            score=outcome.prediction.score[box.slices],
            labels=labels[box.slices],
            corner=np.array([box.top, box.left], dtype=np.int64),
        )
    write_whole(file, result.model_dump_json(indent=1))
