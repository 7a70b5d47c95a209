"""Channels of backscatter: means before and after the event, change at several scales, the multi-temporal filter."""

from __future__ import annotations

from functools import partial

import numpy as np

from model.inputs.change import QUEGAN_PX, SCALES_PX, Change, change_of, local_mean
from model.inputs.channel import Array, Channel, When, Window

MEANINGS_OF_CHANGE: dict[Change, str] = {
    "log_ratio": "mean ln gamma0 after minus before the event, nepers",
    "before_sd": "standard deviation of ln gamma0 over the passes before, nepers",
    "z_score": "log ratio over its standard error",
}


def _mean_backscatter(polarisation: str, when: When, window: Window) -> Array:
    return window.moments(polarisation, when).mean.astype(np.float32)


def _change(polarisation: str, change: Change, window: Window) -> Array:
    return change_of(change, window.moments(polarisation, "before"), window.moments(polarisation, "after"))


def _change_around(polarisation: str, size_px: int, window: Window) -> Array:
    here = _change(polarisation, "log_ratio", window)
    return np.where(np.isfinite(here), local_mean(here, size_px), np.nan).astype(np.float32)


def _filtered(polarisation: str, when: When, window: Window) -> Array:
    return window.filtered(polarisation, when)


def backscatter_channels(polarisation: str) -> tuple[Channel, ...]:
    """Means of a polarisation before and after the event, and its channels of change."""
    asked = ("backscatter", polarisation)
    times: tuple[When, ...] = ("before", "after")
    means = tuple(
        Channel(
            name=f"{polarisation}_{when}",
            meaning=f"mean ln gamma0 {polarisation.upper()} {when} the event, nepers",
            variables=(polarisation,),
            compute=partial(_mean_backscatter, polarisation, when),
            group="backscatter",
            asked_by=(asked,),
            gain=((when, 1.0),),
        )
        for when in times
    )
    changes = tuple(
        Channel(
            name=f"{polarisation}_{change}",
            meaning=f"{polarisation.upper()}: {meaning}",
            variables=(polarisation,),
            compute=partial(_change, polarisation, change),
            group="change",
            asked_by=(asked, ("change", change)),
            # the standard deviation of a single pass is unknown; the pixel stays valid
            no_value="mean" if change == "before_sd" else "invalid",
            gain=(("before", -1.0), ("after", 1.0)) if change == "log_ratio" else (),
            spread=change != "log_ratio",
            passes_before=2 if change == "before_sd" else 1,
        )
        for change, meaning in MEANINGS_OF_CHANGE.items()
    )
    return (*means, *changes, *_of_surroundings(polarisation))


def _of_surroundings(polarisation: str) -> tuple[Channel, ...]:
    """The log-ratio at several scales, and the means of passes after the multi-temporal filter."""
    asked = ("backscatter", polarisation)
    times: tuple[When, ...] = ("before", "after")
    scales = tuple(
        Channel(
            name=f"{polarisation}_log_ratio_{size}",
            meaning=f"{polarisation.upper()}: mean log ratio over {size} x {size} pixels, nepers",
            variables=(polarisation,),
            compute=partial(_change_around, polarisation, size),
            group="change",
            asked_by=(asked, ("change", "scales")),
            gain=(("before", -1.0), ("after", 1.0)),
            context_px=size // 2,
        )
        for size in SCALES_PX
    )
    filtered = tuple(
        Channel(
            name=f"{polarisation}_filtered_{when}",
            meaning=f"mean ln gamma0 {polarisation.upper()} {when} the event after the multi-temporal filter, nepers",
            variables=(polarisation,),
            compute=partial(_filtered, polarisation, when),
            group="change",
            asked_by=(asked, ("change", "quegan")),
            gain=((when, 1.0),),
            context_px=QUEGAN_PX // 2,
        )
        for when in times
    )
    return (*scales, *filtered)
