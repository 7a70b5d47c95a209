"""The weights of networks as safetensors: written, and read back only if they fit the network."""

from __future__ import annotations

from collections.abc import Sequence

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.network.network import build
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec
from pipeline.errors import ModelError

Network = torch.nn.Module
"""(chip, channel, y, x) standardised inputs to (chip, class, y, x)"""


class WeightsError(ModelError):
    """Weights that are not those of the network."""


def weights_of(networks: Sequence[Network]) -> bytes:
    """The weights of all members as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _together(networks).items()}
    return bytes(save_tensors(tensors))


def build_members(spec: NetworkSpec, members: int) -> tuple[Network, ...]:
    """Networks of one kind, into which weights are loaded later."""
    return tuple(build(spec, pretrained=False) for _ in range(members))


def bytes_of(networks: Sequence[Network]) -> int:
    """How many bytes the weights take, without the header of the file."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _together(networks).values())


def load_weights(networks: Sequence[Network], weights: bytes) -> None:
    """Load the weights into the networks, and set these to evaluation mode.

    Raises:
        WeightsError: `weights` are no safetensors, of another network, or not finite.
    """
    expected = _together(networks)
    try:
        tensors = load_tensors(weights)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"it is no safetensors file ({error})") from error
    if set(tensors) != set(expected):
        odd = sorted(set(tensors) ^ set(expected))
        raise WeightsError(f"its tensors are not the network's ({', '.join(odd[:3])}, ...)")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise WeightsError(f"{name} is {tuple(tensor.shape)} of {tensor.dtype}")
        if not bool(torch.isfinite(tensor.double()).all()):
            raise WeightsError(f"{name} holds a value that is not finite")
    for number, network in enumerate(networks):
        prefix = f"{number}." if len(networks) > 1 else ""
        network.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        network.eval()


def _together(networks: Sequence[Network]) -> dict[str, torch.Tensor]:
    """The weights by name; with several members after the member's number, as in `1.encoder.conv1.weight`."""
    if len(networks) == 1:
        return dict(networks[0].state_dict())
    return {
        f"{number}.{name}": value
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
