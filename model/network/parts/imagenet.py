"""ImageNet weights: whether they can be had, asked once; and a first convolution that treats both dates alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from model.network.torch_guard import torch
from pipeline.errors import ModelError

FILES = ("config.json", "model.safetensors")
"""of an encoder, as segmentation-models-pytorch fetches them from the model hub"""
WAIT_S = 5.0
"""how long the hub may take to answer the question whether it is there"""
_DATED = re.compile(r"_(before|after)(?=$|@)")
_VIEW = re.compile(r"@.*$")


def refuse_unavailable(encoder: str) -> None:
    """Refuse weights that are neither in the cache of the model hub nor to be had from it, after one question.

    The library of the hub would ask six times, over 23 s, before it says so.

    Raises:
        ModelError: they cannot be had; their name, the cache and the host are named.
    """
    from huggingface_hub import constants, get_session, hf_hub_url, try_to_load_from_cache

    from model.network.torch_guard import smp

    found = smp.encoders.encoders[encoder]["pretrained_settings"]["imagenet"]
    repository, revision = found["repo_id"], found["revision"]
    kept = (try_to_load_from_cache(repository, name, revision=revision) for name in FILES)
    if all(isinstance(path, str) for path in kept):
        return
    what = f"The ImageNet weights of {encoder} ({repository}) are not in {constants.HF_HUB_CACHE}"
    remedy = "Connect to the network once, or train from random weights."
    if constants.is_offline_mode():
        raise ModelError(f"{what}, and HF_HUB_OFFLINE forbids to fetch them.", remedy)
    address = hf_hub_url(repository, FILES[0], revision=revision)
    try:
        status = get_session().head(address, timeout=WAIT_S, follow_redirects=True).status_code
    except Exception as error:  # of the hub's HTTP library, which is not ours to choose
        raise ModelError(
            f"{what}, and {address} cannot be reached ({type(error).__name__}).", remedy
        ) from error
    if status >= 400:
        raise ModelError(f"{what}, and {address} answers with status {status}.", remedy)


def same_filter_for_both_dates(network: torch.nn.Module, channels: Sequence[str]) -> None:
    """Give the channels of one quantity, before and after the event and in every view, the same first filter.

    The library repeats the filters of red, green and blue over the channels in turn, so that backscatter before an
    event begins with another filter than backscatter after it: a difference of both is then no change. Here the
    quantities take the three filters in turn, and all dates and views of one quantity the same one. The scale stays
    3 / channels.

    Args:
        network: with the library's initial weights; its first convolution is changed in place.
        channels: names of the inputs, in order.
    """
    first = next(
        (
            one
            for one in network.modules()
            if isinstance(one, torch.nn.Conv2d) and one.in_channels == len(channels)
        ),
        None,
    )
    if first is None or len(channels) < 2:
        return
    quantities = [_VIEW.sub("", _DATED.sub("", name)) for name in channels]
    order = {name: number for number, name in enumerate(dict.fromkeys(quantities))}
    chosen = [order[name] % 3 for name in quantities]  # the first channels hold the three filters, in order
    with torch.no_grad():
        first.weight.copy_(first.weight[:, chosen].clone())
