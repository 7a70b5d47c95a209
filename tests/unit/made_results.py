"""Results of trials that nobody ran."""

from __future__ import annotations

from model.experiments.results.results import Trial, TrialResult
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.network.training_plan import NetworkSpec, TrainingPlan
from model.scores.evaluation import Evaluation
from model.scores.scores import Scores

SCORES = Scores(
    auprc=0.5, prevalence=0.1, pixels=100, positives=10, threshold=0.5, f1=0.5, precision=0.5, recall=0.5
)
PASS = {"index": 0, "instant": "2018-08-24T20:00:00Z", "id": "a", "valid": 1.0}
SELECTION = Selection.model_validate(
    {
        "event": {"start": "2018-09-05T18:07:59Z", "end": "2018-09-05T18:07:59Z"},
        "track": "track 46 (descending)",
        "before": [PASS],
        "after": [PASS | {"instant": "2018-09-05T20:00:00Z"}],
        "rule": "made",
    }
)


def made_result(
    *,
    label: str = "made",
    seed: int = 0,
    fold: int | None = 0,
    protocol: str = "strict",
    protocol_digest: str = "a" * 64,
    scored_digest: str = "b" * 64,
    cube: str = "c" * 64,
    steps: int = 10,
    auprc: float = 0.5,
) -> TrialResult:
    """A result with these properties."""
    return TrialResult(
        trial=Trial.model_validate(
            {
                "label": label,
                "inputs": Inputs(),
                "network": NetworkSpec(in_channels=9),
                "plan": TrainingPlan(steps=steps),
                "protocol": protocol,
                "seed": seed,
                "fold": fold,
            }
        ),
        cube=CubeFacts(uri="made", area="made", digest=cube, shape=(256, 256), simulated=True),
        protocol_digest=protocol_digest,
        scored_digest=scored_digest,
        selection=SELECTION,
        evaluation=Evaluation(scene=SCORES.model_copy(update={"auprc": auprc}), best_f1=0.5),
        seconds=1.0,
        device="cpu",
        software={},
    )
