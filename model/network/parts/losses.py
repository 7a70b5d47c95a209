"""The loss of the default recipe, and losses of other people by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from model.network.parts.own_parts import LOSSES, installed_names, installed_part, loaded_part
from model.network.torch_guard import torch
from pipeline.errors import ModelError

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(chip, y, x) log-odds, (chip, y, x) target 0 or 1, (chip, y, x) whether the pixel counts, to a scalar"""

_REGISTERED: dict[str, Callable[..., Any]] = {}


def register_loss(name: str, loss: Callable[..., Any]) -> str:
    """Add a loss for this session, for which `TrainingPlan(loss=name)` asks; one of that name is replaced.

        >>> import segmentation_models_pytorch as smp
        >>> slidecube.register_loss("focal", smp.losses.FocalLoss("binary"))
        'focal'
        >>> slidecube.TrainingRequest(plan={"loss": "focal"}).plan.loss
        'focal'

    Args:
        loss: with three parameters, of log-odds, targets and the mask of pixels that count, each (chip, y, x); or with
            two, of the log-odds and targets of the pixels that count, each (1, 1, 1, pixels) float32, as the binary
            losses of torch and of segmentation-models-pytorch take them. It returns a scalar. A class or a function
            without parameters makes the loss.

    Returns:
        The name.
    """
    _REGISTERED[name] = loss
    return name


def own_loss(name: str) -> Loss:
    """The loss of a name: of this session, or an entry point of the group `slidecube.losses`.

    Raises:
        ModelError: there is none, or it has neither two nor three parameters.
    """
    if name in _REGISTERED:
        found: Any = _REGISTERED[name]
    else:
        point = installed_part(LOSSES, name)
        if point is None:
            known = sorted({*_REGISTERED, *installed_names(LOSSES)})
            raise ModelError(
                f"There is no loss {name!r}; there are {', '.join(known) or 'none but the default'}.",
                "Register it (slidecube.register_loss), or install the package that has it.",
            )
        found = loaded_part(point)
    if inspect.isclass(found) or _parameters(found) == 0:
        found = found()
    count = _parameters(found)
    if count >= 3:
        loss: Loss = found
        return loss
    if count == 2:
        return _of_counted(found)
    raise ModelError(
        f"The loss {name!r} does not take log-odds and targets.", "Give it two or three parameters."
    )


def _parameters(loss: Any) -> int:
    """Number of positional parameters that have no default."""
    called = loss.forward if isinstance(loss, torch.nn.Module) else loss
    parameters = inspect.signature(called).parameters.values()
    return sum(
        one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        for one in parameters
    )


def _of_counted(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Loss:
    """A loss of log-odds and targets, on the pixels that count; 0 where none does."""

    def masked(logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not bool(mask.any()):
            return logits.sum() * 0.0
        return loss(logits[mask][None, None, None], target[mask][None, None, None])

    return masked


def masked_loss(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, dice_weight: float
) -> torch.Tensor:
    """Cross entropy plus Dice over the pixels that count; 0 where none does.

    Args:
        logits: (chip, y, x)
        target: (chip, y, x) 0 or 1
        mask: (chip, y, x) 1 where the pixel counts
    """
    weight = mask.to(logits.dtype)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    mean_entropy = (entropy * weight).sum() / weight.sum().clamp(min=1.0)
    probability = torch.sigmoid(logits) * weight
    truth = target * weight
    dice = 1.0 - (2.0 * (probability * truth).sum() + 1.0) / (probability.sum() + truth.sum() + 1.0)
    return mean_entropy + dice_weight * dice
