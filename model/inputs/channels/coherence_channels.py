"""Channels of coherence, and those of presence, which tell a network what it was not given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from model.inputs.channel import Array, Channel, Place, Window

COHERENCE: dict[str, tuple[Place, ...]] = {
    "before": ("before",),
    "across": ("across",),
    "after": ("after",),
    "loss": ("before", "across"),
    "recovery": ("after", "across"),
}
"""the pairs that each coherence channel is computed from; with two, the second mean is subtracted from the first"""


def _coherence(places: tuple[Place, ...], window: Window) -> Array:
    first, *second = (window.mean_over_pairs("coherence", place) for place in places)
    return first - second[0] if second else first


def coherence_channel(word: str, places: tuple[Place, ...]) -> Channel:
    """A channel of coherence. Coherence covers only parts of a scene; a pixel without it stays valid."""
    return Channel(
        name=f"coherence_{word}",
        meaning=f"mean coherence of the pairs {' minus that of those '.join(places)} the event",
        variables=("coherence",),
        compute=partial(_coherence, places),
        group="coherence",
        asked_by=(("coherence", word),),
        no_value="mean",
        pairs=places,
    )


def _seen(window: Window) -> Array:
    return ((window.passes("before") > 0) & (window.passes("after") > 0)).astype(np.float32)


def _inverse_noise(window: Window) -> Array:
    before, after = window.passes("before"), window.passes("after")
    return np.where(
        (before > 0) & (after > 0), np.sqrt(before * after / np.maximum(before + after, 1)), 0
    ).astype(np.float32)


def _known(places: tuple[Place, ...], window: Window) -> Array:
    return np.isfinite(_coherence(places, window)).astype(np.float32)


def _presence(name: str, meaning: str, compute: Callable[[Window], Array], *more: tuple[str, str]) -> Channel:
    """A channel that tells a network what is absent: 0 where it is, in a view that it was not given too."""
    return Channel(
        name=name,
        meaning=meaning,
        variables=(),
        compute=compute,
        group="presence",
        asked_by=(("views", "any"), *more),
        no_value="zero",
        standardised=False,
    )


SEEN = _presence("seen", "1 where the view sees the pixel before and after the event, else 0", _seen)
"""the channel by which a network knows, pixel by pixel, which views there are"""
PRESENCE = (
    SEEN,
    _presence(
        "passes",
        "(1/n_before + 1/n_after)^-1/2 of the passes that see the pixel, the inverse noise of their difference; 0 "
        "where the view does not see it",
        _inverse_noise,
    ),
    *(
        _presence(
            f"coherence_{word}_known",
            f"1 where coherence_{word} has a value, else 0",
            partial(_known, places),
            ("coherence", word),
        )
        for word, places in COHERENCE.items()
    ),
)
