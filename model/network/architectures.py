"""The networks that can be built, by name. To add one, add it to `ARCHITECTURES`. Importing this module does not import
torch.

A network is any `torch.nn.Module` from (chip, channel, y, x) standardised inputs, sides multiples of 32, to (chip,
class, y, x). A bundle names its network, and only networks that are registered here are built: a foreign bundle cannot
name any other class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from model.network.torch_guard import torch


class Sizes(Protocol):
    """What a network is built from; `model.network.training_plan.NetworkSpec` has it."""

    @property
    def in_channels(self) -> int:
        """Number of input channels."""

    @property
    def classes(self) -> int:
        """1: the output is the log-odds; 2: their difference is."""

    @property
    def encoder(self) -> str:
        """Name of the encoder, for networks that have one."""

    @property
    def encoder_depth(self) -> int:
        """Halvings in the encoder."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the input channels, for networks that need them."""

    @property
    def decoder(self) -> tuple[int, ...] | None:
        """Widths of the decoder; None: the defaults of the library for five halvings."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One kind of network."""

    title: str
    """as the literature calls it, for the model card"""
    build: Callable[[Sizes, str | None], torch.nn.Module]
    """builds the network from its sizes and the name of its pretrained weights; None: random weights"""
    encoder: bool = False
    """whether networks of this kind differ in encoder and depth"""
    imagenet: bool = False
    """whether ImageNet weights are available"""
    named_channels: bool = False
    """whether it is built from the names of the input channels"""


def _unet(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.torch_guard import smp

    return _of_smp(smp.Unet, sizes, weights)


def _unetplusplus(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.torch_guard import smp

    return _of_smp(smp.UnetPlusPlus, sizes, weights)


def _of_smp(
    kind: Callable[..., torch.nn.Module], sizes: Sizes, weights: str | None, in_channels: int | None = None
) -> torch.nn.Module:
    decoder = {"decoder_channels": sizes.decoder} if sizes.decoder else {}
    return kind(
        encoder_name=sizes.encoder,
        encoder_depth=sizes.encoder_depth,
        encoder_weights=weights,
        in_channels=sizes.in_channels if in_channels is None else in_channels,
        classes=sizes.classes,
        **decoder,
    )


def _full_resolution(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.view_networks import FullResolution

    unet = _unet(sizes, weights)
    decoded = (sizes.decoder or (16,))[-1]
    return FullResolution(unet, sizes.in_channels, decoded, sizes.classes)


def _shared_views(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.torch_guard import smp
    from model.network.view_networks import SharedViews

    def unet(in_channels: int) -> torch.nn.Module:
        return _of_smp(smp.Unet, sizes, weights, in_channels)

    return SharedViews(unet, sizes.channels)


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture(title="U-Net", build=_unet, encoder=True, imagenet=True),
    "unetplusplus": Architecture(title="U-Net++", build=_unetplusplus, encoder=True, imagenet=True),
    "unet-full": Architecture(
        title="U-Net with a level at full resolution", build=_full_resolution, encoder=True, imagenet=True
    ),
    "unet-views": Architecture(
        title="U-Net with one encoder for both directions",
        build=_shared_views,
        encoder=True,
        imagenet=True,
        named_channels=True,
    ),
}


def register(name: str, architecture: Architecture) -> None:
    """Add a network without a change to this file.

    A training of several processes builds the network in each of them: register it in the module that starts the
    training, outside `if __name__ == "__main__"`.

    Raises:
        ValueError: another network has this name.
    """
    if ARCHITECTURES.get(name, architecture) != architecture:
        raise ValueError(f"a network named {name!r} is registered already")
    ARCHITECTURES[name] = architecture


def architecture_name(name: str) -> str:
    """The name itself, if a network of it is registered.

    Raises:
        ValueError: none is.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"there is no network {name!r}; there are {', '.join(ARCHITECTURES)}")
    return name
