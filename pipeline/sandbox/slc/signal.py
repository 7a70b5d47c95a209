"""The simulated echo: scatterers that persist or change from pass to pass, filtered like the processor's output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pipeline.sandbox.earth.cover import LASTING, Cover, remembered
from pipeline.sandbox.earth.mirror import mirrored
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.earth.realism.random_fields import Raster
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.slc.acquisition import Acquisition
from pipeline.sandbox.slc.instrument import (
    AZIMUTH_BANDWIDTH_HZ,
    AZIMUTH_WINDOW,
    INVALID_LINES,
    INVALID_SAMPLES,
    LINE_S,
    RANGE_BANDWIDTH_HZ,
    RANGE_SAMPLING_HZ,
    RANGE_WINDOW,
    WAVELENGTH_M,
)
from pipeline.sandbox.slc.lattice_ground import PAD_LINES, PAD_SAMPLES, BurstGround, offsets
from pipeline.sandbox.slc.wgs84 import Array

Echo = NDArray[np.complex64]
Passes = Sequence[tuple[Flight, Acquisition]]

_COUNTS_AT_0_DB = 190.0
"""Amplitude in counts of a backscatter of 0 dB; forest has about 80, as in products."""
_TAPS, _STEPS = 12, 4096


@dataclass(frozen=True)
class BurstEcho:
    """One burst of one pass: (line, sample, 2) counts, real and imaginary, zero where invalid."""

    index: int
    counts: NDArray[np.int16]


def echoes(
    scene: Scene, cover: Cover, ground: BurstGround, nominal: Acquisition, passes: Passes
) -> Iterator[BurstEcho]:
    """A burst of every pass, ascending in time; any two passes have the coherence of the land cover.

    `nominal` is an overflight in the middle of the orbit's tube, the common reference of all passes.
    """
    rng = np.random.default_rng([scene.parameters.seed, 21, ground.burst])
    shape = ground.row.shape
    before, after = (mirrored(r, ground.row, ground.column, 1) for r in (cover.before, cover.after))
    changed = mirrored(cover.changed.astype(np.float32), ground.row, ground.column, 0) > 0.5
    moved = cover.bowl.displacement_m(ground.row, ground.column)
    track = passes[0][0].track
    quiet = scene.quiet_db(track, "vv")
    amplitudes = {
        slid: _amplitude(quiet + scene.change_db(track, "vv") if slid else quiet, ground)
        for slid in {flight.slid for flight, _ in passes}
    }
    lasting, fading = _noise(shape, rng), _noise(shape, rng)
    previous: Flight | None = None
    for index, (flight, acquisition) in enumerate(passes):
        kept = after if flight.slid else before
        if previous is not None:
            days = (flight.instant - previous.instant).total_seconds() / 86400
            memory = remembered(kept, days)
            fading *= memory
            fading += np.sqrt(1 - memory**2) * _noise(shape, rng)
            if flight.slid != previous.slid:
                count = int(changed.sum())
                lasting[changed], fading[changed] = _noise((count,), rng), _noise((count,), rng)
        previous = flight
        share = LASTING * kept
        scatterers = np.sqrt(share) * lasting + np.sqrt(1 - share) * fading
        scatterers *= amplitudes[flight.slid]
        counts = _recorded(scatterers, ground, nominal, acquisition, moved if flight.slid else None)
        yield BurstEcho(index, counts)


def _amplitude(db: Raster, ground: BurstGround) -> Raster:
    level = mirrored(np.power(np.float32(10.0), db / 20), ground.row, ground.column, 1)
    return np.asarray(_COUNTS_AT_0_DB / np.sqrt(2) * level * np.sqrt(ground.spread), dtype=np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Echo:
    """Complex white Gaussian noise; real and imaginary part each have the variance 1."""
    return rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]


def _recorded(
    scatterers: Echo,
    ground: BurstGround,
    nominal: Acquisition,
    acquisition: Acquisition,
    moved_m: Raster | None,
) -> NDArray[np.int16]:
    """(line, sample, 2) counts of the scatterers in an overflight."""
    frame, burst = acquisition.frame, ground.burst
    line_off, sample_off, farther_m = offsets(ground, acquisition)
    if max(np.abs(line_off).max() - PAD_LINES, np.abs(sample_off).max() - PAD_SAMPLES) > -_TAPS:
        raise SandboxError("An overflight is too far from its track.", "Report this: baselines are drawn.")
    lines = np.arange(-PAD_LINES, frame.lines + PAD_LINES, dtype=np.float64)[:, None]
    samples = np.arange(-PAD_SAMPLES, frame.samples + PAD_SAMPLES, dtype=np.float64)[None, :]
    # the carrier must be zero at each scatterer's peak, so its value there is subtracted before; the carrier of the
    # nominal overflight, which is the same for all passes, keeps the signal within the band
    phase = acquisition.carrier_rad(burst, lines + line_off, samples + sample_off)
    phase -= nominal.carrier_rad(burst, lines, samples)
    phase += 4 * np.pi / WAVELENGTH_M * farther_m
    if moved_m is not None:
        phase -= 4 * np.pi / WAVELENGTH_M * moved_m
    focused = _focused(scatterers * _turn(-phase))
    shifted = _resampled(focused, line_off, sample_off, (frame.lines, frame.samples))
    inner = np.s_[PAD_LINES:-PAD_LINES], np.s_[PAD_SAMPLES:-PAD_SAMPLES]
    shifted *= _turn(acquisition.carrier_rad(burst, lines[inner[0]], samples[:, inner[1]]))
    counts = np.zeros((frame.lines, frame.samples, 2), dtype=np.int16)
    valid = np.s_[INVALID_LINES:-INVALID_LINES, INVALID_SAMPLES:-INVALID_SAMPLES]
    parts = shifted[valid].view(np.float32).reshape(*shifted[valid].shape, 2)
    counts[valid] = np.clip(np.rint(parts), -32767, 32767)
    return counts


def _turn(phase: Array) -> Echo:
    whole = np.remainder(phase, 2 * np.pi).astype(np.float32)
    turn = np.empty(phase.shape, dtype=np.complex64)
    np.cos(whole, out=turn.real)
    np.sin(whole, out=turn.imag)
    return turn


def _window(frequency: Array, bandwidth: float, coefficient: float) -> NDArray[np.float32]:
    inside = np.abs(frequency) <= bandwidth / 2
    hamming = coefficient + (1 - coefficient) * np.cos(2 * np.pi * frequency / bandwidth)
    return np.where(inside, hamming, 0.0).astype(np.float32)


def _focused(scatterers: Echo) -> Echo:
    """White scatterers filtered to the processed bandwidths and windows, with the same power."""
    fast = [scipy.fft.next_fast_len(n) for n in scatterers.shape]
    azimuth = _window(scipy.fft.fftfreq(fast[0], LINE_S), AZIMUTH_BANDWIDTH_HZ, AZIMUTH_WINDOW)
    across = _window(scipy.fft.fftfreq(fast[1], 1 / RANGE_SAMPLING_HZ), RANGE_BANDWIDTH_HZ, RANGE_WINDOW)
    spectrum = scipy.fft.fft2(scatterers, s=fast, overwrite_x=True)
    spectrum *= azimuth[:, None] / np.sqrt(np.mean(azimuth**2))
    spectrum *= across[None, :] / np.sqrt(np.mean(across**2))
    image = scipy.fft.ifft2(spectrum, overwrite_x=True)
    return np.asarray(image[: scatterers.shape[0], : scatterers.shape[1]], dtype=np.complex64)


def _kernel() -> NDArray[np.float32]:
    """(step, tap) windowed sinc for fractions of a sample; the image occupies three quarters of its band."""
    tap = np.arange(_TAPS) - (_TAPS // 2 - 1)
    off = tap[None, :] - np.arange(_STEPS + 1)[:, None] / _STEPS
    weights = np.sinc(off) * np.i0(5.0 * np.sqrt(np.maximum(0.0, 1 - (off / (_TAPS / 2)) ** 2))) / np.i0(5.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


_KERNEL = _kernel()


def _resampled(image: Echo, line_off: Array, sample_off: Array, shape: tuple[int, int]) -> Echo:
    """A padded image resampled to the lattice of an overflight, in which every point is displaced by the offsets."""
    # the offsets at a sample's source; they change slowly, so whole steps back suffice
    back = round(float(line_off.mean())), round(float(sample_off.mean()))
    columns = np.arange(shape[1])[None, :] + PAD_SAMPLES
    source = columns - sample_off[:, PAD_SAMPLES - back[1] : PAD_SAMPLES - back[1] + shape[1]]
    across = _interpolated(image, source, axis=1)
    rows = np.arange(shape[0])[:, None] + PAD_LINES
    there = line_off[
        PAD_LINES - back[0] : PAD_LINES - back[0] + shape[0],
        PAD_SAMPLES - back[1] : PAD_SAMPLES - back[1] + shape[1],
    ]
    return _interpolated(across, rows - there, axis=0)


def _interpolated(image: Echo, source: Array, axis: int) -> Echo:
    whole = np.floor(source).astype(np.int32)
    step = np.rint((source - whole) * _STEPS).astype(np.int32)
    result = np.zeros(source.shape, dtype=np.complex64)
    for tap in range(_TAPS):
        weight = _KERNEL[:, tap][step]
        result += weight * np.take_along_axis(image, whole + (tap - (_TAPS // 2 - 1)), axis=axis)
    return result
