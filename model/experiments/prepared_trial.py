"""What the protocols share: a trial with its scenes opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model.experiments.results.results import Trial, TrialTask
from model.experiments.results.scored_scene import ScoredScene, open_scene
from model.inputs.cubes import CubeFacts


@dataclass(frozen=True)
class PreparedTrial:
    """A trial whose cubes are open and whose scored pixels are known; nothing is trained yet."""

    task: TrialTask
    scene: ScoredScene
    """the tested one"""
    other_scenes: tuple[ScoredScene, ...]
    """those of the other events in the training set"""
    scratch: Path
    """folder for scratch files, which are deleted after the trial"""

    @property
    def trial(self) -> Trial:
        """The trial itself."""
        return self.task.trial

    def with_trial(self, trial: Trial) -> PreparedTrial:
        """Another trial on the same scenes."""
        return replace(self, task=self.task.model_copy(update={"trial": trial}))

    @property
    def trained_on(self) -> tuple[CubeFacts, ...]:
        """The cubes of the other events."""
        return tuple(scene.facts for scene in self.other_scenes)


def prepare(task: TrialTask, scratch: Path) -> PreparedTrial:
    """Open the cubes of a trial. The cubes of other events must record their events.

    Raises:
        CubeError: a cube does not exist.
        ModelError: a cube has no labels, no event, or no pass before or after the event.
    """
    scene = open_scene(
        task.cube, task.event, "best track" if task.trial.protocol == "paper" else "any direction"
    )
    others = task.other_events.cubes if task.other_events else ()
    return PreparedTrial(task, scene, tuple(open_scene(cube) for cube in others), scratch)
