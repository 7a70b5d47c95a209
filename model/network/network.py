"""Building a network, and the log-odds of 'landslide' from its output."""

from __future__ import annotations

from model.network.architectures import architecture_named
from model.network.parts.imagenet import refuse_unavailable
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec, TrainingPlan
from pipeline.errors import ModelError


def build(spec: NetworkSpec, *, pretrained: bool = True) -> torch.nn.Module:
    """The network with its initial weights.

    `imagenet` weights are fetched from the model hub (or its cache); `random` ones need no network connection.

    Args:
        pretrained: False: leave out the initial weights, because others are about to be loaded.

    Raises:
        ModelError: there is no such network, its package cannot be imported or makes no such network, the ImageNet
            weights are not available, or the weights are those of pretraining, which the caller has to give.
    """
    architecture = architecture_named(spec.architecture)
    if spec.initial_weights == "pretrained" and pretrained:
        raise ModelError(
            "The network starts from the weights of pretraining, and none are given.",
            "Pretrain first, or train from random weights.",
        )
    wanted = "imagenet" if spec.initial_weights == "imagenet" and pretrained else None
    if wanted and not architecture.imagenet:
        raise ModelError(
            f"There are no ImageNet weights of {architecture.title}.", "Train from random weights."
        )
    if wanted and architecture.encoder:
        refuse_unavailable(spec.encoder)
    try:
        network = architecture.build(spec, wanted)
    except Exception as error:
        if wanted is None:
            raise
        raise ModelError(
            f"The ImageNet weights of {spec.encoder} are not available ({type(error).__name__}).",
            "Connect to the network once, or train from random weights.",
        ) from error
    # a quarter less processor time than channels first, on a CPU
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def plan_as_run(plan: TrainingPlan) -> TrainingPlan:
    """The plan with the precision that the device computes in: mixed precision needs a GPU, a CPU has float32."""
    if plan.precision == "float32" or choose_device(plan.device).type == "cuda":
        return plan
    return plan.model_copy(update={"precision": "float32"})


def log_odds(output: torch.Tensor) -> torch.Tensor:
    """(n, y, x) log-odds of 'landslide' of a network's (n, class, y, x) output.

    With two classes it is the difference of both: the softmax over two classes is the logistic function of it, and
    their cross entropy is the binary one.
    """
    return output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]


def parameters(network: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def choose_device(wanted: str) -> torch.device:
    """The torch device of a name; `auto` is a GPU if there is one.

    Raises:
        ModelError: a GPU is asked for and there is none.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError("There is no GPU that torch can use.", "Use --device auto or cpu.")
    return torch.device(wanted)
