"""What maps of a model are worth on events that were left out: the same training on all events but one, in turn.

Imports torch when a network is trained.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.bundle.expected_scores import scored_cases
from model.detector.land import OverLand
from model.inputs import cubes
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.pass_subsets import PassSubset, passes_by_view
from model.inputs.selection import Selection
from model.inputs.windows import whole
from model.maps.map_plan import SMALLEST_M2
from model.network.inference import Probability, predict
from model.scores.case_evidence import CaseEvidence
from model.scores.event_evidence import CountedEvent, EventEvidence
from model.training.training_data import EventData, TrainingRun
from pipeline.errors import ModelError
from pipeline.files import read_regular, write_whole
from pipeline.records import Frozen, digest_of_json

ALGORITHM = 2
"""version of what is trained and counted; 1: every batch was of one scene"""

log = logging.getLogger(__name__)

LARGEST_FOLD_BYTES = 64 << 20


class CountedCase(Frozen):
    """The counts of one case on one event."""

    case: PassSubset
    evidence: EventEvidence


class CountedFold(Frozen):
    """The counts of one event that was left out, in each case that it has passes for."""

    cases: tuple[CountedCase, ...]


@dataclass(frozen=True)
class LeftOutTraining:
    """The trainings without one of the events each."""

    events: Sequence[EventData]
    run: TrainingRun
    train: Callable[[Sequence[EventData]], Probability]
    """trains on events as the bundle's network is trained on all of them"""
    network: str
    """digest of what is trained besides the settings of the run"""

    def evidence(self) -> tuple[CaseEvidence, ...]:
        """The counts of every event by case, each on the whole of its scene.

        With `checkpoints` in the training plan a finished event is kept in that folder, and is not trained again.

        Raises:
            ModelError: the others of an event cannot be trained on.
        """
        count, found = len(self.events), []
        for number, tested in enumerate(self.events):
            self.run.progress("events left out", number, count, tested.event.cube.area)
            found.append(self._fold(tested))
        self.run.progress("events left out", count, count)
        return tuple(self._by_case(found))

    def _by_case(self, folds: Sequence[CountedFold]) -> Iterator[CaseEvidence]:
        first, inputs = self.events[0].event.selection, self.run.inputs
        for case in scored_cases(first, inputs):
            counted = [one.evidence for fold in folds for one in fold.cases if one.case == case]
            passes = case.of(first)
            if passes is not None and counted:
                yield CaseEvidence(
                    before=len(passes.before),
                    after=len(passes.after),
                    views=passes_by_view(passes) if inputs.views == "any" else (),
                    smallest_m2=SMALLEST_M2,
                    events=tuple(counted),
                )

    def _fold(self, tested: EventData) -> CountedFold:
        """The counts of one event, by networks that were trained on the others."""
        file = self._file(tested)
        if file is not None and file.is_file():
            try:
                return CountedFold.model_validate_json(read_regular(file, LARGEST_FOLD_BYTES))
            except (ValueError, OSError):
                log.warning("%s cannot be used and is made again", file)
        probability = self.train([one for one in self.events if one is not tested])
        cases = scored_cases(self.events[0].event.selection, self.run.inputs)
        counted = [(case, self._counted(tested, case, probability)) for case in cases]
        fold = CountedFold(
            cases=tuple(
                CountedCase(case=case, evidence=evidence)
                for case, evidence in counted
                if evidence is not None
            )
        )
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, fold.model_dump_json())
        return fold

    def _counted(self, tested: EventData, case: PassSubset, probability: Probability) -> EventEvidence | None:
        """The counts of the whole scene with some of its passes; None: it has not as many, or they are too few."""
        passes, cube = case.of(tested.event.selection), tested.event.cube
        if passes is None:
            return None
        try:
            predicted = self._predicted(tested, passes, probability)
        except ModelError as error:
            log.info("%s is not counted with %s: %s", cube.area, case, error)
            return None
        event = CountedEvent(
            area=cube.area,
            cube=cube.digest,
            simulated=cube.simulated,
            part="left-out event",
        )
        pixel_m2 = float(np.prod(cubes.pixel_m(tested.dataset)))
        return EventEvidence.of(event, [(predicted, tested.labels)], pixel_m2, SMALLEST_M2)

    def _predicted(
        self, tested: EventData, passes: Selection, probability: Probability
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """(y, x) as a map of another scene is predicted: standardised by its own statistics over land."""
        inputs, dataset = self.run.inputs, tested.dataset
        channels = CubeChannels(dataset, inputs, passes)
        box = whole(channels.shape)
        statistics = Statistics.of(OverLand(channels, inputs.channels, dataset), inputs.channels, (box,))
        strips = predict(channels, box, statistics, probability)
        return np.concatenate([strip.probability for strip in strips])

    def _file(self, tested: EventData) -> Path | None:
        """Where the counts of an event are kept."""
        folder = self.run.plan.checkpoints
        if folder is None:
            return None
        run, cube = self.run, tested.event.cube
        unimportant = {"device", "processes", "compiled", "checkpoints"}
        parts = {
            "version": ALGORITHM,
            "tested": cube.digest,
            "trained on": [one.event.cube.digest for one in self.events if one is not tested],
            "first": self.events[0].event.selection.model_dump(mode="json"),
            "inputs": run.inputs.model_dump(mode="json"),
            "plan": run.plan.model_dump(mode="json", exclude=unimportant),
            "experiment": run.experiment.model_dump(mode="json", exclude={"others", "left_out", "inputs"}),
            "network": self.network,
            "seed": run.seed,
        }
        return Path(folder) / f"left-out-{digest_of_json(parts)[:32]}.json"
