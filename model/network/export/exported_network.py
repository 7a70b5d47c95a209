"""The networks of a bundle with everything around them as one module: standardisation, mean of members, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.inputs.channel_registry import may_lack
from model.inputs.channel_statistics import Statistics
from model.network.augmentation import mirror_signs
from model.network.ensemble import SMALLEST
from model.network.network import log_odds
from model.network.torch_guard import torch
from model.network.training_plan import TestTime
from model.scores.probability_calibration import Calibration


class ExportedNetwork(torch.nn.Module):
    """(chip, channel, y, x) values of the channels, NaN where unknown, to (chip, y, x) calibrated probabilities.

    It does what a map by the bundle does with one window: `Statistics.standardise`, the mean of the members' log-odds
    (and of the mirrored window), `Calibration.apply`. A pixel without valid inputs is NaN. Sides are multiples of 32.
    """

    mean: torch.Tensor
    sd: torch.Tensor
    lacking: torch.Tensor
    signs: torch.Tensor

    def __init__(
        self,
        networks: Sequence[torch.nn.Module],
        statistics: Statistics,
        calibration: Calibration,
        test_time: TestTime,
        *,
        standardised: bool,
        alone: Mapping[int, Calibration] | None = None,
    ) -> None:
        """
        Args:
            alone: by the number of the channel that is above 0 where a view sees a pixel: the calibration of pixels
                that this view sees and no other one; None: there is one calibration.
            standardised: the values that go in are standardised already, by the statistics of whichever scene.
        """
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)
        count = len(statistics.channels)
        mean, sd = ([0.0] * count, [1.0] * count) if standardised else (statistics.mean, statistics.sd)
        mirrored = test_time == "mirrored"
        signs = mirror_signs(statistics.channels).tolist() if mirrored else [1.0] * count
        for name, values in (("mean", mean), ("sd", sd), ("signs", signs)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[None, :, None, None])
        self.register_buffer("lacking", torch.from_numpy(may_lack(statistics.channels))[None, :, None, None])
        self._clip, self._mirrored = statistics.clip_sd, mirrored
        self._slope, self._intercept = calibration.slope, calibration.intercept
        self._alone = dict(alone or {})
        self._edge = float(torch.logit(torch.tensor(SMALLEST, dtype=torch.float64)).abs())

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities of a batch of windows."""
        known = torch.isfinite(channels)
        valid = (known | self.lacking).all(dim=1)
        scaled = ((channels - self.mean) / self.sd).clamp(-self._clip, self._clip)
        scaled = torch.where(known & valid[:, None], scaled, torch.zeros_like(scaled))
        mean = self._log_odds(scaled)
        if self._mirrored:
            mean = (mean + self._log_odds(scaled.flip(2) * self.signs).flip(1)) / 2
        probability = torch.sigmoid(self._slope * mean + self._intercept)
        for number, calibration in self._alone.items():
            only = channels[:, number] > 0
            for other in self._alone:
                if other != number:
                    only = only & ~(channels[:, other] > 0)
            found = torch.sigmoid(calibration.slope * mean + calibration.intercept)
            probability = torch.where(only, found, probability)
        return torch.where(valid, probability, torch.full_like(probability, float("nan")))

    def _log_odds(self, scaled: torch.Tensor) -> torch.Tensor:
        """(chip, y, x) mean of the members' log-odds, kept finite as `model.network.ensemble` does."""
        found = [log_odds(network(scaled)).clamp(-self._edge, self._edge) for network in self.networks]
        return torch.stack(found).mean(dim=0)
