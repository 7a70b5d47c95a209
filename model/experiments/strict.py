"""The protocol `strict`: every pixel is tested once, by a network that was not trained on its surroundings."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from model.experiments.baselines import baseline_prediction
from model.experiments.network_prediction import DividedScene, Division, network_prediction
from model.experiments.prepared_trial import PreparedTrial
from model.experiments.results.prediction import Outcome, Prediction
from model.experiments.results.results import TrialTask
from model.experiments.results.scored_scene import ScoredScene
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import EventSpan
from model.scores.evaluation import CALIBRATION_CLASSES, CELL_M, CHIP_PX, SIZES_M2, evaluate
from model.scores.scores import Ranking, Scores
from model.split.folds import Fold, FoldPlan, one_fold
from model.split.leakage import assert_no_leak
from model.split.partition import Partition
from pipeline.errors import ModelError
from pipeline.progress import Progress
from pipeline.records import Frozen, digest_of_json


class StrictPlan(Frozen):
    """What decides which pixels of a cube are scored, and how."""

    folds: FoldPlan = FoldPlan()
    event: EventSpan | None = Field(None, description="None: the one that the cube records")

    @classmethod
    def of(cls, task: TrialTask) -> StrictPlan:
        """The plan of a trial."""
        return cls(folds=task.folds, event=task.event)

    @property
    def digest(self) -> str:
        """sha256 of the protocol: its name, its version, the plan, the constants of the evaluation."""
        parts = {
            "protocol": "strict",
            "version": 2,  # 1: pixels that the best track sees; 2: that any direction sees
            "plan": self.model_dump(mode="json"),
            "evaluation": [CHIP_PX, CELL_M, CALIBRATION_CLASSES, SIZES_M2],
        }
        return digest_of_json(parts)


def digest_of(task: TrialTask, tested: CubeFacts, trained_on: Sequence[CubeFacts] = ()) -> str:
    """sha256 of everything that decides a result but the software.

    Args:
        trained_on: no cube: the protocol trains on the tested one.
    """
    return task.digest_on(tested, StrictPlan.of(task).digest)


def run(prepared: PreparedTrial, progress: Progress) -> Outcome:
    """Test one rectangle of a scene, choose weights and threshold on a second one, and train outside their buffers.

    Raises:
        ModelError: the trial names no fold or one that does not exist; the cube lacks what the trial needs; or training
            would leak.
    """
    trial, scene = prepared.trial, prepared.scene
    if trial.fold is None:
        raise ModelError("A trial of the protocol strict needs a fold.")
    fold = fold_of(scene, prepared.task.folds, trial.fold)
    assert_no_leak(fold, scene.shape, fold.buffer_px)
    divided = DividedScene(scene, fold)
    if trial.method == "network":
        made, _ = network_prediction(Division((divided,), divided), trial, prepared.scratch, progress)
    else:
        made = baseline_prediction(scene, trial, fold, prepared.scratch)
    return scored_outcome(divided, made, StrictPlan.of(prepared.task).digest)


def fold_of(scene: ScoredScene, plan: FoldPlan, number: int) -> Fold:
    """A fold of a scene.

    Raises:
        ModelError: there is no such fold, it has no training pixel, or the scene is too small or without labels.
    """
    return one_fold(scene.labels, scene.scored, plan, number)


def scored_outcome(
    divided: DividedScene, made: Prediction, protocol_digest: str, threshold: float = 0.5
) -> Outcome:
    """Score a prediction: the threshold comes from the validation rectangle, all figures from the tested one.

    Args:
        threshold: used where the scene has no validation rectangle, or no landslide in it.
    """
    scene, parts = divided.scene, divided.parts
    score = made.filled()
    chosen_on, tested = scene.within(parts.boxes("validation")), scene.within(parts.boxes("test"))
    validation: Scores | None = None
    if (chosen_on.truth & chosen_on.scored).any():
        inside = chosen_on.scored
        validation = Ranking.of(score[inside], chosen_on.truth[inside]).scores()
        threshold = validation.threshold
    (box,) = parts.boxes("test")
    return Outcome(
        prediction=made,
        tested=tested,
        box=box,
        evaluation=evaluate(score, tested, threshold, probability=made.probability),
        validation=validation.model_copy(update={"curve": ()}) if validation else None,
        protocol_digest=protocol_digest,
        scored_digest=tested.digest(str(scene.shape).encode()),
        notes=_note_on_threshold(parts, validation, threshold),
    )


def _note_on_threshold(parts: Partition, validation: Scores | None, threshold: float) -> tuple[str, ...]:
    """A note where a scene has a validation rectangle without a landslide, by which no threshold can be chosen."""
    if validation is not None or not parts.boxes("validation"):
        return ()
    return (
        f"the validation rectangle holds no landslide: F1, precision and recall are at the threshold {threshold:g}",
    )
