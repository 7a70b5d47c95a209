"""The weights of networks as safetensors: written, and read back only if they fit the network.

A file from elsewhere is compared with what the network needs before memory is taken for either: its header names every
tensor with its type and shape, and the network is first built without storage (on torch's device `meta`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import psutil
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.network.architectures import architecture_named
from model.network.network import build
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec
from pipeline.errors import ModelError

Network = torch.nn.Module
"""(chip, channel, y, x) standardised inputs to (chip, class, y, x)"""
Form = tuple[str, tuple[int, ...]]
"""type and shape of a tensor, as the header of safetensors names them"""

LENGTH_BYTES = 8
"""the first bytes of a safetensors file: the length of its header, little-endian"""
HEADER_BYTES_A_TENSOR = 512
"""longest entry of the header: name, type, shape and place of one tensor"""
COPIES = 3
"""the file, its tensors and the networks are in memory at the same time"""
TYPES = {
    torch.float32: "F32",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bool: "BOOL",
}


class WeightsError(ModelError):
    """Weights that are not those of the network."""


def weights_of(networks: Sequence[Network]) -> bytes:
    """The weights of all members as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _together(networks).items()}
    return bytes(save_tensors(tensors))


def build_members(spec: NetworkSpec, members: int) -> tuple[Network, ...]:
    """Networks of one kind, into which weights are loaded later."""
    return tuple(build(spec, pretrained=False) for _ in range(members))


def forms_of(spec: NetworkSpec, members: int = 1) -> dict[str, Form]:
    """Type and shape of every tensor of a network, or of several members, by name.

    Takes no memory for them, except for a network of somebody else, which is built.
    """
    own = (
        architecture_named(spec.architecture).origin is not None
    )  # may load weights itself, which takes memory
    with nullcontext() if own else torch.device("meta"):
        network = build(spec, pretrained=False)
    one = {name: _form(value) for name, value in network.state_dict().items()}
    if members == 1:
        return one
    return {f"{number}.{name}": form for number in range(members) for name, form in one.items()}


def read_weights(file: Path, forms: Mapping[str, Form]) -> bytes:
    """The content of a safetensors file of just these tensors; nothing is read before its header agrees.

    Raises:
        WeightsError: it has other tensors, or another size than they need; or they do not fit into memory.
        OSError: it cannot be read.
    """
    data = sum(_bytes_of(form) for form in forms.values())
    with file.open("rb") as stream:
        size = file.stat().st_size
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if length > HEADER_BYTES_A_TENSOR * (len(forms) + 1):
            raise WeightsError("it is no safetensors file, or its header is too long")
        _compare(_header(stream.read(length)), forms)
        if size != LENGTH_BYTES + length + data:
            raise WeightsError(
                f"its size is {size} bytes, and not the {LENGTH_BYTES + length + data} of its tensors"
            )
        if COPIES * data > (free := psutil.virtual_memory().available):
            raise WeightsError(
                f"its networks need {COPIES * data / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
            )
        stream.seek(0)
        return stream.read(size)


def _header(raw: bytes) -> dict[str, Form]:
    """Type and shape of the tensors that a header names."""
    try:
        entries = json.loads(raw)
        return {
            name: (entry["dtype"], tuple(entry["shape"]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError("it is no safetensors file: its header cannot be read") from error


def _compare(found: Mapping[str, Form], expected: Mapping[str, Form]) -> None:
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise WeightsError(
            f"its tensors are not the network's ({', '.join(repr(n[:60]) for n in odd[:3])}, ...)"
        )
    for name, form in found.items():
        if form != expected[name]:
            kind, shape = expected[name]
            raise WeightsError(f"{name} is not {kind} of the shape {shape}")


def _bytes_of(form: Form) -> int:
    kind, shape = form
    count = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BOOL": 1}.get(kind, 8)
    for side in shape:
        count *= side
    return count


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
    _compare(*({name: _form(value) for name, value in each.items()} for each in (tensors, expected)))
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor.double()).all()):
            raise WeightsError(f"{name} holds a value that is not finite")
    for number, network in enumerate(networks):
        prefix = f"{number}." if len(networks) > 1 else ""
        network.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        network.eval()


def _form(value: torch.Tensor) -> Form:
    return TYPES.get(value.dtype, str(value.dtype)), tuple(value.shape)


def _together(networks: Sequence[Network]) -> dict[str, torch.Tensor]:
    """The weights by name; with several members after the member's number, as in `1.encoder.conv1.weight`."""
    if len(networks) == 1:
        return dict(networks[0].state_dict())
    return {
        f"{number}.{name}": value
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
