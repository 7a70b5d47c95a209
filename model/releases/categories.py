"""The values of a map's class rasters in words and colours, and the ramp of its scores.

Orange to red stands for landslides that the newest passes show, blue for those that they no longer show
(ColorBrewer's YlOrRd and Blues, https://colorbrewer2.org). The ramp of scores is matplotlib's inferno, which is
perceptually uniform, from light to dark, so that it reads on a hillshade; what is low is transparent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from model.bundle.summaries import ReleaseRecord
from model.detector import pass_status
from pipeline.records import Frozen

NOT_LANDSLIDE, LANDSLIDE, NO_DATA = 0, 1, 255
"""values of the class raster"""
CLASS_NAME, STATUS_NAME, VALIDITY_NAME, CHANGE_NAME = "landslides", "status", "validity", "change_db"
"""rasters of a map, without their suffix"""
LIKELIHOODS = ((0.9, "very likely"), (0.66, "likely"), (0.33, "about as likely as not"), (0.0, "unlikely"))
"""lowest mean probability of each class; words and limits as IPCC authors use them (Mastrandrea et al. 2010, Guidance
Note for Lead Authors on Consistent Treatment of Uncertainties, table 1)"""
STRENGTHS = ((2.0, "strong"), (1.25, "clear"), (0.0, "faint"))
"""lowest mean score of each class, in units of the map's threshold"""
CLASS_COLOURS = {
    "very likely": "#800026", "likely": "#e31a1c", "about as likely as not": "#fd8d3c", "unlikely": "#fed976",
    "strong": "#800026", "clear": "#e31a1c", "faint": "#fd8d3c",
}  # fmt: skip
STATUS_COLOURS = {
    pass_status.FIRST: "#fecc5c",
    pass_status.PROVISIONAL: "#fd8d3c",
    pass_status.CONFIRMED: "#bd0026",
    pass_status.GONE: "#9ecae1",
    pass_status.CONFIRMED_GONE: "#3182bd",
}
FLAG_COLOURS = {1: "#636363", 2: "#737373", 4: "#969696", 16: "#969696", 128: "#bdbdbd", 8: "#756bb1", 64: "#9ecae1",
                32: "#e0d6bc"}  # fmt: skip
"""of the flags of the validity raster; a pixel with several has the colour of the first one here"""
OTHER = "#888888"


class Category(Frozen):
    """One value of a raster."""

    value: int = Field(ge=0, le=255)
    name: str
    colour: str = Field(pattern=r"^#[0-9a-f]{6}$")
    opacity: int = Field(255, ge=0, le=255, description="0: not drawn")

    @property
    def rgba(self) -> tuple[int, int, int, int]:
        """Red, green, blue and opacity, 0 to 255."""
        return (*rgb(self.colour), self.opacity)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def classes() -> tuple[Category, ...]:
    """The class raster."""
    return (
        Category(value=NOT_LANDSLIDE, name="no landslide", colour="#f0f0f0", opacity=0),
        Category(value=LANDSLIDE, name="landslide", colour="#bd0026"),
        Category(value=NO_DATA, name="no data", colour="#ffffff", opacity=0),
    )


def statuses() -> tuple[Category, ...]:
    """The status raster."""
    words, none = pass_status.WORDS, pass_status.NONE
    return (
        Category(value=none, name="no landslide", colour="#f0f0f0", opacity=0),
        *(Category(value=value, name=words[value], colour=one) for value, one in STATUS_COLOURS.items()),
        Category(value=NO_DATA, name="no data", colour="#ffffff", opacity=0),
    )


def validities(meanings: Mapping[int, str], values: Iterable[int] | None = None) -> tuple[Category, ...]:
    """The validity raster.

    Args:
        meanings: what each flag means.
        values: sums of flags that occur; None: each flag alone.
    """
    found = [Category(value=0, name="valid", colour="#ffffff", opacity=0)]
    for value in sorted(set(meanings if values is None else values) - {0, NO_DATA}):
        words = "; ".join(text for flag, text in meanings.items() if value & flag)
        colour = next((one for flag, one in FLAG_COLOURS.items() if value & flag), OTHER)
        found.append(Category(value=value, name=words or f"value {value}", colour=colour))
    return tuple(found)


def categories_of(name: str, meanings: Mapping[int, str]) -> tuple[Category, ...]:
    """The categories of a raster by its name; empty where its values are quantities.

    Of the validity raster all sums of flags, whose colours a table of 256 entries holds.
    """
    if name == CLASS_NAME:
        return classes()
    if name == STATUS_NAME:
        return statuses()
    return validities(meanings, range(1, NO_DATA)) if name == VALIDITY_NAME else ()


def palette(name: str, meanings: Mapping[int, str]) -> dict[int, tuple[int, int, int, int]]:
    """The colour table of a raster by value; empty where its values are quantities."""
    return {one.value: one.rgba for one in categories_of(name, meanings)}


class Stop(Frozen):
    """One colour of a ramp."""

    value: float
    colour: str
    opacity: int = Field(255, ge=0, le=255)
    label: str = ""


def score_ramp(threshold: float | None, highest: float) -> tuple[Stop, ...]:
    """The ramp of probabilities or scores: nothing up to half the threshold, opaque from the threshold on."""
    middle = threshold if threshold is not None else highest / 2
    levels = (0.0, 0.5 * middle, middle, *(middle + (highest - middle) * part for part in (0.25, 0.5, 1.0)))
    shades = (0.02, 0.10, 0.30, 0.45, 0.62, 0.88)
    opacities = (0, 0, 210, 235, 255, 255)
    return tuple(
        Stop(value=round(level, 6), colour=colour, opacity=opacity, label=f"{level:.2f}")
        for level, colour, opacity in zip(levels, _inferno_from_light(shades), opacities, strict=True)
    )


def scale_of(record: ReleaseRecord, highest: float) -> tuple[float | None, float]:
    """The threshold and the top of the ramp: 1 for probabilities, three times the threshold for scores.

    Args:
        highest: of a map without a threshold.
    """
    threshold = record.threshold
    if record.kind == "model":
        return threshold, 1.0
    return threshold, 3.0 * threshold if threshold else highest


def change_ramp() -> tuple[Stop, ...]:
    """The ramp of changes of backscatter in dB: blue darker, red brighter, nothing where little changed."""
    return (
        Stop(value=-6, colour="#2166ac", label="-6 dB and less"),
        Stop(value=-3, colour="#67a9cf", opacity=220, label="-3 dB"),
        Stop(value=-1, colour="#d1e5f0", opacity=0, label="-1 dB"),
        Stop(value=1, colour="#fddbc7", opacity=0, label="1 dB"),
        Stop(value=3, colour="#ef8a62", opacity=220, label="3 dB"),
        Stop(value=6, colour="#b2182b", label="6 dB and more"),
    )


def class_of(value: float, limits: tuple[tuple[float, str], ...]) -> str:
    """The words of the first limit that `value` reaches; empty where it is not finite."""
    return next((words for lowest, words in limits if value >= lowest), "")


def _inferno_from_light(shades: Iterable[float]) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["inferno_r"](shade)) for shade in shades]
