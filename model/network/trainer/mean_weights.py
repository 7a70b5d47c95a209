"""The exponential mean of the weights, which is evaluated and kept."""

from __future__ import annotations

from dataclasses import dataclass

from model.network.trainer.lightning_guard import WeightAveraging, lightning, torch


def mean_of_weights(decay: float) -> lightning.Callback:
    """Lightning's averaging of weights and running statistics, with a decay per step that is lower at first."""
    return WeightAveraging(multi_avg_fn=_Exponential(decay))


@dataclass(frozen=True)
class _Exponential:
    """A step of the exponential mean; the first ones decay faster, so that it does not stay near the initial weights.

    The decay of step n is at most (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage with `num_updates`.
    """

    decay: float

    @torch.no_grad()
    def __call__(
        self, means: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor | int
    ) -> None:
        kept = min(self.decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)
