"""The pictures of a release's page: backscatter before and after, hillshade, the map, as data addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.releases.categories import OTHER, Stop, rgb
from model.releases.finished_map import FinishedMap, PageImages, PagePictures
from model.releases.vector_layers import Layer
from pipeline.errors import ModelError

Rgb = NDArray[np.uint8]
NO_DATA_COLOUR = (217, 199, 163)
"""sand: of what nothing is known"""
PAPER = 235
"""grey of the ground where there is no terrain to shade"""
JPEG_QUALITY = 82
PAPER_PX = 1200
"""longer side that the map for paper has at least, about"""
NUMBER_PX = 20
"""height of the numbers on it"""


def data_address(picture: bytes) -> str:
    """A picture inside a page."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def encoded(picture: Image.Image) -> bytes:
    """JPEG, or PNG where a picture has transparent parts."""
    buffer = io.BytesIO()
    if picture.mode == "RGBA":
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def pictures_of(images: PageImages, pixel_m: float, ramp: Sequence[Stop]) -> PagePictures:
    """The pictures of a page.

    Args:
        pixel_m: of the scene.
        ramp: of the scores.
    """
    before, after = before_and_after(images)
    return PagePictures(
        before=encoded(before),
        after=encoded(after),
        hillshade=encoded(hillshade(images, pixel_m)),
        score=encoded(score_overlay(images, ramp)),
        block_px=images.block_px,
    )


def before_and_after(images: PageImages) -> tuple[Image.Image, Image.Image]:
    """Backscatter before and after in the same grey scale, from the 2nd to the 98th percentile of that before."""
    before, after = images.before, images.after
    seen = before[np.isfinite(before)]
    low, high = np.percentile(seen, [2, 98]) if seen.size else (-20.0, 0.0)
    return _grey(before, low, high), _grey(after, low, high)


def hillshade(images: PageImages, pixel_m: float) -> Image.Image:
    """The terrain lit from the north-west; plain where there is none, sand where nothing is known."""
    from matplotlib.colors import LightSource

    pixel = pixel_m * images.block_px
    known, grey = np.isfinite(images.dem), np.full(images.score.shape, PAPER / 255.0)
    if known.any() and min(images.dem.shape) > 1:
        filled = np.where(known, images.dem, np.nanmean(images.dem))
        shade = LightSource(315, 45).hillshade(filled, dx=pixel, dy=pixel)
        grey = np.where(known, 0.45 + 0.55 * shade, grey)
    found = np.repeat((255 * np.clip(grey, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    found[~np.isfinite(images.score)] = NO_DATA_COLOUR
    return Image.fromarray(found)


def score_overlay(images: PageImages, ramp: Sequence[Stop]) -> Image.Image:
    """The scores in the colours of their ramp, transparent where they are low or unknown."""
    score = images.score
    levels = [stop.value for stop in ramp]
    bands = [[rgb(stop.colour)[band] for stop in ramp] for band in range(3)] + [[s.opacity for s in ramp]]
    filled = np.where(np.isfinite(score), score, levels[0])
    found = np.stack([np.interp(filled, levels, band) for band in bands], axis=-1).astype(np.uint8)
    found[~np.isfinite(score)] = 0
    found[found[..., 3] == 0] = 0  # one colour for what is not seen: it takes no room in the file
    return Image.fromarray(found, "RGBA")


def map_picture(finished: FinishedMap, layer: Layer, numbered: Collection[int] = ()) -> Image.Image:
    """The map for paper: scores over the hillshade, and the outlines of the polygons in the colours of their layer.

    Args:
        numbered: polygons whose number is written beside them.

    Raises:
        ModelError: the pictures of the release are damaged.
    """
    picture, score = _opened(finished.pictures.hillshade), _opened(finished.pictures.score)
    if picture.size != score.size:
        raise ModelError("The pictures of the release differ in size.", "Map again (--replace).")
    picture.alpha_composite(score)
    larger = max(1, round(PAPER_PX / max(picture.size)))
    picture = picture.convert("RGB").resize((picture.width * larger, picture.height * larger))
    canvas, colours = ImageDraw.Draw(picture), {fill.value: fill.colour for fill in layer.fills}
    to_pixel, step = ~finished.reference.affine, finished.pictures.block_px / larger

    def place(x: float, y: float) -> tuple[float, float]:
        column, row = to_pixel @ (x, y)
        return column / step, row / step

    for polygon, value in zip(layer.frame.geometry, layer.drawn_by, strict=True):
        points = [place(x, y) for x, y, *_ in polygon.exterior.coords]
        canvas.line(points, fill=rgb(colours.get(value, OTHER)), width=2)
    font = ImageFont.load_default(NUMBER_PX)
    for number, polygon in zip(layer.frame["id"], layer.frame.geometry, strict=True):
        if number in numbered:
            *_, right, top = polygon.bounds
            canvas.text(
                place(right, top), str(number), fill=(0, 0, 0), font=font, anchor="lb",
                stroke_width=3, stroke_fill=(255, 255, 255),
            )  # fmt: skip
    return picture


def _opened(picture: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(picture), formats=["JPEG", "PNG"]) as found:
            return found.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ModelError("A picture of the release cannot be read.", "Map again (--replace).") from error


def _grey(decibels: NDArray[np.float64], low: float, high: float) -> Image.Image:
    level = np.clip((decibels - low) / max(high - low, 1e-6), 0, 1)
    grey = (255 * np.where(np.isfinite(level), level, 0)).astype(np.uint8)
    found = np.repeat(grey[..., None], 3, axis=2)
    found[~np.isfinite(decibels)] = NO_DATA_COLOUR
    return Image.fromarray(found)
