"""The networks that can be built, by name. To add one, add it to `ARCHITECTURES`, register it for a session, or give it
an entry point of the group `slidecube.networks`. Importing this module does not import torch.

A network is any `torch.nn.Module` from (chip, channel, y, x) standardised inputs, sides multiples of 32, to (chip,
class, y, x). A bundle names its network, and only networks that are registered here or that an installed package has an
entry point for are built: a foreign bundle cannot name any other class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import PydanticCustomError

from model.network.parts.own_parts import (
    NETWORKS,
    PartOrigin,
    installed_names,
    installed_part,
    loaded_part,
    origin_of_callable,
    origin_of_entry_point,
)
from pipeline.errors import ModelError

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
    origin: PartOrigin | None = None
    """None: it is one of slidecube's own, or was registered as an `Architecture`"""
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


def _narrow(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.parts.narrow_unet import without_unused_stages
    from model.network.torch_guard import smp

    return without_unused_stages(_of_smp(smp.Unet, sizes, weights), sizes.encoder_depth)


def _full_resolution(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.parts.view_networks import FullResolution

    unet = _unet(sizes, weights)
    decoded = (sizes.decoder or (16,))[-1]
    return FullResolution(unet, sizes.in_channels, decoded, sizes.classes)


def _shared_views(sizes: Sizes, weights: str | None) -> torch.nn.Module:
    from model.network.parts.view_networks import SharedViews
    from model.network.torch_guard import smp

    def unet(in_channels: int) -> torch.nn.Module:
        return _of_smp(smp.Unet, sizes, weights, in_channels)

    return SharedViews(unet, sizes.channels)


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture(title="U-Net", build=_unet, encoder=True, imagenet=True),
    "unetplusplus": Architecture(title="U-Net++", build=_unetplusplus, encoder=True, imagenet=True),
    "unet-narrow": Architecture(
        title="U-Net whose encoder has no more stages than its depth",
        build=_narrow,
        encoder=True,
        imagenet=True,
    ),
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


def register_network(name: str, build: Callable[..., Any], title: str | None = None) -> str:
    """Add a network for this session; one of that name that was registered so before is replaced.

        >>> import segmentation_models_pytorch as smp
        >>> from functools import partial
        >>> slidecube.register_network("linknet", partial(smp.Linknet, "resnet18", encoder_weights=None))
        'linknet'
        >>> slidecube.TrainingRequest(experiment={"architecture": "linknet"}).experiment.architecture
        'linknet'

    Args:
        name: by which `Experiment(architecture=name)` asks for it, and under which a bundle records it.
        build: anything that makes a `torch.nn.Module`: a class or function of segmentation-models-pytorch, torchgeo,
            terratorch or of your own. It is called with the numbers of input and output channels by the names that it
            gives them (`in_channels`, `in_chans`, `num_channels`; `classes`, `num_classes`, `out_channels`), or, where
            it has one other parameter, with an object that has `in_channels` and `classes`. Bind the rest by
            `functools.partial`. The module takes (chip, channel, y, x), sides multiples of 32, and returns
            (chip, class, y, x), alone, as `out` of a mapping or as `output` of an object.
        title: for the model card; None: the name.

    Returns:
        The name.

    Raises:
        ValueError: a network of slidecube, or an `Architecture`, has this name.
    """
    made = _own(title or name, build, origin_of_callable(build))
    if name in ARCHITECTURES and ARCHITECTURES[name].origin is None:
        raise ValueError(f"a network named {name!r} is registered already")
    ARCHITECTURES[name] = made
    return name


def architecture_named(name: str) -> Architecture:
    """The network of a name: registered in this session, or an entry point of an installed package.

    Raises:
        ModelError: there is none, or its package cannot be imported.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    point = installed_part(NETWORKS, name)
    if point is None:
        raise ModelError(
            f"There is no network {name!r}; there are {', '.join(_names())}.",
            "Register it (slidecube.register_network), or install the package that has it.",
        )
    found = loaded_part(point)
    origin = origin_of_entry_point(point)
    made = replace(found, origin=origin) if isinstance(found, Architecture) else _own(name, found, origin)
    ARCHITECTURES[name] = made
    return made


def architecture_name(name: str) -> str:
    """The name itself, if there is a network of it. Nothing is imported.

    Raises:
        ValueError: there is none.
    """
    if name not in ARCHITECTURES and installed_part(NETWORKS, name) is None:
        raise PydanticCustomError(
            "unknown_network",
            "there is no network {name}; there are {known}",
            {"name": repr(name), "known": ", ".join(_names())},
        )
    return name


def _names() -> list[str]:
    return [*ARCHITECTURES, *(name for name in installed_names(NETWORKS) if name not in ARCHITECTURES)]


def _own(title: str, build: Callable[..., Any], origin: PartOrigin) -> Architecture:
    def made(sizes: Sizes, weights: str | None) -> torch.nn.Module:
        from model.network.parts.own_network import own_network

        return own_network(build, sizes)

    return Architecture(title=title, build=made, origin=origin)
