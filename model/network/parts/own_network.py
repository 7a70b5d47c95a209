"""A network that a callable of somebody else makes: how the callable is called, and what its output must be."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from model.network.torch_guard import torch
from pipeline.errors import ModelError

IN_CHANNELS = ("in_channels", "in_chans", "input_channels", "num_channels", "channels")
"""names by which libraries ask for the number of input channels (segmentation-models-pytorch, timm, torchgeo)"""
CLASSES = ("classes", "num_classes", "n_classes", "out_channels", "out_chans")
"""names by which they ask for the number of output channels"""
TRIED_PX = 64
"""side of the chips on which a network is tried once it is built"""


class Sizes(Protocol):
    """What a network must fit."""

    @property
    def in_channels(self) -> int:
        """Number of input channels."""

    @property
    def classes(self) -> int:
        """Number of output channels."""


class OwnNetwork(torch.nn.Module):
    """A network of somebody else with one tensor as its output: (chip, class, y, x)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(chip, channel, y, x) standardised inputs to (chip, class, y, x)."""
        found: Any = self.network(inputs)
        if isinstance(found, Mapping):  # as torchvision's networks
            found = found["out"]
        elif hasattr(found, "output"):  # as terratorch's
            found = found.output
        elif isinstance(found, tuple | list):
            found = found[0]
        result: torch.Tensor = found[:, None] if found.ndim == 3 else found
        return result


def own_network(build: Callable[..., Any], sizes: Sizes) -> OwnNetwork:
    """The network that a callable makes, tried on two empty chips.

    Raises:
        ModelError: the callable cannot be called with these sizes, makes no `torch.nn.Module`, or one whose output is
            not (chip, class, y, x).
    """
    made = _called(build, sizes)
    if not isinstance(made, torch.nn.Module):
        raise ModelError(
            f"The callable of the network makes a {type(made).__name__}, no torch.nn.Module.",
            "Return the network itself.",
        )
    network = OwnNetwork(made)
    wanted = (2, sizes.classes, TRIED_PX, TRIED_PX)
    was_training = network.training
    try:
        with torch.no_grad():
            found = tuple(network.eval()(torch.zeros(2, sizes.in_channels, TRIED_PX, TRIED_PX)).shape)
    except Exception as error:  # whatever a network of somebody else raises
        raise ModelError(
            f"The network {type(made).__name__} cannot take {sizes.in_channels} channels of {TRIED_PX} x {TRIED_PX} "
            f"pixels ({type(error).__name__}: {str(error)[:200]}).",
            "It must take chips of any side that is a multiple of 32.",
        ) from error
    network.train(was_training)
    if found != wanted:
        raise ModelError(
            f"The network {type(made).__name__} turns {(2, sizes.in_channels, TRIED_PX, TRIED_PX)} into {found}, and "
            f"not into {wanted}.",
            "Return one log-odds a pixel: (chip, 1, y, x).",
        )
    return network


def _called(build: Callable[..., Any], sizes: Sizes) -> Any:
    """Call with the sizes by the names that the callable gives them."""
    try:
        parameters = inspect.signature(build).parameters
    except (ValueError, TypeError):  # written in C
        return build(sizes)
    bound = build.keywords if isinstance(build, functools.partial) else {}
    given: dict[str, Any] = {}
    for names, value in ((IN_CHANNELS, sizes.in_channels), (CLASSES, sizes.classes)):
        name = next((name for name in names if name in parameters), None)
        if name is not None and name not in bound:
            given[name] = value
    lacking = [
        one.name
        for one in parameters.values()
        if one.default is one.empty
        and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and one.name not in given
    ]
    if len(lacking) == 1 and not given:
        return build(sizes)  # a function of the sizes themselves
    if lacking:
        raise ModelError(
            f"The callable of the network also needs {', '.join(lacking)}.",
            "Bind them: functools.partial(build, name=value).",
        )
    return build(**given)
