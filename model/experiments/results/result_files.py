"""Results of trials as files: `<digest>.json`, and `<digest>.npz` with the scores of what was tested."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from model.experiments.results.prediction import Score
from model.experiments.results.results import TrialResult
from model.experiments.results.scored_pixels import Ground
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box


def read_result(file: Path) -> TrialResult | None:
    """A result that was written before; None: none, or not a whole one."""
    if not file.is_file() or not file.with_suffix(".npz").is_file():
        return None
    try:
        return TrialResult.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def write_result(file: Path, result: TrialResult, place: Ground, score: Score, box: Box) -> None:
    """The scores of a rectangle first, then the result, which marks them as whole.

    Args:
        score: (y, x) of the whole scene.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.part.npz")
    labels = np.where(place.scored, place.labels, np.uint8(UNMAPPED))
    np.savez_compressed(
        partial,
        score=score[box.slices],
        labels=labels[box.slices],
        corner=np.array([box.top, box.left], dtype=np.int64),
    )
    partial.replace(file.with_suffix(".npz"))
    text = file.with_suffix(f".{os.getpid()}.part")
    text.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    text.replace(file)
