"""Annotation of a product: the elements that processors read, with the simulation's values.

Structure: Sentinel-1 Product Specification (S1-RS-MDA-52-7441), section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from pipeline.catalogue.slc import StateVector
from pipeline.sandbox.elements import Node, build, listed, numbers
from pipeline.sandbox.slc import instrument as iw
from pipeline.sandbox.slc.geolocation_grid import GridPoint
from pipeline.sandbox.slc.orbit import PERIOD_S, every, heading_deg
from pipeline.sandbox.slc.survey import SlcFlight


def state_vectors(overflight: SlcFlight) -> tuple[StateVector, ...]:
    """The annotation's state vectors: one every 10 s, from a minute before to a minute after."""
    start = overflight.start.replace(microsecond=41_367) - timedelta(seconds=70)
    count = 15 + int((overflight.end - overflight.start).total_seconds() / 10)
    return overflight.acquisition.orbit.vectors(every(10.0, start, count))


def header(overflight: SlcFlight) -> Node:
    """The header that annotation, calibration and noise have in common."""
    flight = overflight.flight
    return (
        "adsHeader",
        [
            ("missionId", flight.platform),
            ("productType", "SLC"),
            ("polarisation", "VV"),
            ("mode", "IW"),
            ("swath", iw.SWATH),
            ("startTime", overflight.start),
            ("stopTime", overflight.end),
            ("absoluteOrbitNumber", flight.absolute_orbit),
            ("missionDataTakeId", flight.datatake),
            ("imageNumber", "001"),
        ],
    )


def product(
    overflight: SlcFlight, grid: Sequence[GridPoint], byte_offsets: Sequence[int], spread: float
) -> Any:
    """The annotation.

    `byte_offsets` are the positions of the bursts in the measurement file, `spread` is the samples' standard deviation.
    """
    return build(
        (
            "product",
            [
                header(overflight),
                ("qualityInformation", [("productQualityIndex", 0.0), listed("qualityDataList", [])]),
                _general(overflight, grid[0].height_m),
                _image(overflight, grid, spread),
                _doppler(overflight),
                _antenna(overflight, grid),
                _timing(overflight, byte_offsets),
                ("geolocationGrid", [listed("geolocationGridPointList", map(_point, grid))]),
                ("coordinateConversion", [listed("coordinateConversionList", [])]),
                ("swathMerging", [listed("swathMergeList", [])]),
            ],
        )
    )


def _around(overflight: SlcFlight) -> list[datetime]:
    """Middle times of the bursts, and one more before the first and after the last."""
    acquisition = overflight.acquisition
    middles = [acquisition.middle(b) for b in range(len(acquisition.starts))]
    spacing = timedelta(seconds=acquisition.frame.spacing_s)
    return [middles[0] - spacing, *middles, middles[-1] + spacing]


def _general(overflight: SlcFlight, height_m: float) -> Node:
    acquisition, flight = overflight.acquisition, overflight.flight
    epoch, near = acquisition.orbit.epoch, acquisition.frame.near_s
    rates = [(t, acquisition.fm_rate((t - epoch).total_seconds())) for t in _around(overflight)]
    return (
        "generalAnnotation",
        [
            (
                "productInformation",
                [
                    ("pass", flight.track.direction.capitalize()),
                    ("timelinessCategory", "Fast-24h"),
                    ("platformHeading", heading_deg(acquisition.orbit)),
                    ("projection", "Slant Range"),
                    ("rangeSamplingRate", iw.RANGE_SAMPLING_HZ),
                    ("radarFrequency", iw.RADAR_FREQUENCY_HZ),
                    ("azimuthSteeringRate", iw.STEERING_DEG_S),
                ],
            ),
            listed("downlinkInformationList", [_downlink(overflight)]),
            listed("orbitList", map(_orbit, state_vectors(overflight))),
            listed("attitudeList", []),
            listed("rawDataAnalysisList", []),
            listed("replicaInformationList", []),
            listed("noiseList", []),
            listed(
                "terrainHeightList",
                [("terrainHeight", [("azimuthTime", t), ("value", height_m)]) for t in _around(overflight)],
            ),
            listed(
                "azimuthFmRateList",
                [
                    (
                        "azimuthFmRate",
                        [("azimuthTime", t), ("t0", near), numbers("azimuthFmRatePolynomial", rate, ".15e")],
                    )
                    for t, rate in rates
                ],
            ),
        ],
    )


def _downlink(overflight: SlcFlight) -> Node:
    values = [
        ("pri", 1 / iw.PULSE_HZ),
        ("rank", 8),
        ("dataTakeId", overflight.flight.datatake),
        ("txPulseLength", iw.PULSE_S),
        ("txPulseStartFrequency", -iw.PULSE_S * iw.CHIRP_HZ_S / 2),
        ("txPulseRampRate", iw.CHIRP_HZ_S),
        ("swathNumber", iw.SWATH_NUMBER),
    ]
    return (
        "downlinkInformation",
        [
            ("swath", iw.SWATH),
            ("azimuthTime", overflight.start),
            ("firstLineSensingTime", overflight.start),
            ("lastLineSensingTime", overflight.end),
            ("prf", iw.PULSE_HZ),
            ("downlinkValues", values),
        ],
    )


def _orbit(vector: StateVector) -> Node:
    return (
        "orbit",
        [
            ("time", vector.time),
            ("frame", "Earth Fixed"),
            ("position", list(zip("xyz", map(float, vector.position_m), strict=True))),
            ("velocity", list(zip("xyz", map(float, vector.velocity_m_s), strict=True))),
        ],
    )


def _image(overflight: SlcFlight, grid: Sequence[GridPoint], spread: float) -> Node:
    return (
        "imageAnnotation",
        [_image_information(overflight, grid, spread), _image_processing(overflight)],
    )


def _image_information(overflight: SlcFlight, grid: Sequence[GridPoint], spread: float) -> Node:
    acquisition, frame = overflight.acquisition, overflight.acquisition.frame
    node = acquisition.orbit.epoch - timedelta(seconds=acquisition.orbit.since_node_s)
    statistics = (
        "imageStatistics",
        [
            ("outputDataMean", [("re", "0.000000e+00"), ("im", "0.000000e+00")]),
            ("outputDataStdDev", [("re", f"{spread:.6e}"), ("im", f"{spread:.6e}")]),
        ],
    )
    ground_speed = float(np.linalg.norm(acquisition.orbit.state(np.array(0.0))[1])) * 0.9
    return (
        "imageInformation",
        [
            ("productFirstLineUtcTime", overflight.start),
            ("productLastLineUtcTime", overflight.end),
            ("ascendingNodeTime", node),
            ("anchorTime", overflight.start),
            ("productComposition", "Slice"),
            ("sliceNumber", 1),
            listed("sliceList", []),
            ("slantRangeTime", frame.near_s),
            ("pixelValue", "Complex"),
            ("outputPixels", "16 bit Signed Integer"),
            ("rangePixelSpacing", iw.SAMPLE_M),
            ("azimuthPixelSpacing", ground_speed * iw.LINE_S),
            ("azimuthTimeInterval", iw.LINE_S),
            ("azimuthFrequency", 1 / iw.LINE_S),
            ("numberOfSamples", frame.samples),
            ("numberOfLines", frame.lines * len(acquisition.starts)),
            ("zeroDopMinusAcqTime", 0.0),
            ("incidenceAngleMidSwath", grid[len(grid) // 2].incidence_deg),
            statistics,
        ],
    )


def _image_processing(overflight: SlcFlight) -> Node:
    acquisition, frame = overflight.acquisition, overflight.acquisition.frame
    dimensions = (
        "inputDimensions",
        [
            ("azimuthTime", overflight.start),
            ("swath", iw.SWATH),
            ("numberOfInputSamples", frame.samples),
            ("numberOfInputLines", frame.lines * len(acquisition.starts)),
        ],
    )
    return (
        "processingInformation",
        [
            ("rawDataAnalysisUsed", True),
            ("orbitDataFileUsed", True),
            ("dcMethod", "Data Analysis"),
            ("rangeSpreadingLossCompensationApplied", True),
            ("srgrConversionApplied", False),
            ("detectionPerformed", False),
            ("thermalNoiseCorrectionPerformed", False),
            listed("swathProcParamsList", [_processing()]),
            listed("inputDimensionsList", [dimensions]),
            ("referenceRange", 8e5),
            ("ellipsoidName", "WGS84"),
            ("ellipsoidSemiMajorAxis", 6378137.0),
            ("ellipsoidSemiMinorAxis", 6356752.314245),
            ("bistaticDelayCorrectionApplied", True),
            ("orbitSource", "Auxiliary"),
        ],
    )


def _processing() -> Node:
    def looks(name: str, bandwidth: float, window: float) -> Node:
        return (
            name,
            [
                ("windowType", "Hamming"),
                ("windowCoefficient", window),
                ("totalBandwidth", bandwidth),
                ("processingBandwidth", bandwidth),
                ("lookBandwidth", bandwidth),
                ("numberOfLooks", 1),
                ("lookOverlap", 0.0),
            ],
        )

    return (
        "swathProcParams",
        [
            ("swath", iw.SWATH),
            looks("rangeProcessing", iw.RANGE_BANDWIDTH_HZ, iw.RANGE_WINDOW),
            looks("azimuthProcessing", iw.AZIMUTH_BANDWIDTH_HZ, iw.AZIMUTH_WINDOW),
        ],
    )


def _doppler(overflight: SlcFlight) -> Node:
    acquisition = overflight.acquisition
    estimates = [
        (
            "dcEstimate",
            [
                ("azimuthTime", t),
                ("t0", acquisition.frame.near_s),
                numbers("geometryDcPolynomial", (0.0, 0.0, 0.0), ".15e"),
                numbers("dataDcPolynomial", acquisition.doppler_hz, ".15e"),
                ("dataDcRmsError", 1.0),
                ("dataDcRmsErrorAboveThreshold", False),
                listed("fineDceList", []),
            ],
        )
        for t in _around(overflight)
    ]
    return "dopplerCentroid", [listed("dcEstimateList", estimates)]


def _antenna(overflight: SlcFlight, grid: Sequence[GridPoint]) -> Node:
    """A constant antenna pattern, since the simulated signal contains none."""
    near = [point for point in grid if point.line == grid[0].line]
    patterns = [
        (
            "antennaPattern",
            [
                ("swath", iw.SWATH),
                ("azimuthTime", t),
                numbers("slantRangeTime", [point.delay_s for point in near], ".15e"),
                numbers("elevationAngle", [point.elevation_deg for point in near], ".6e"),
                numbers("elevationPattern", [1.0, 0.0] * len(near), ".6e"),
                numbers("incidenceAngle", [point.incidence_deg for point in near], ".6e"),
                ("terrainHeight", grid[0].height_m),
                ("roll", near[len(near) // 2].elevation_deg),
            ],
        )
        for t in _around(overflight)
    ]
    return "antennaPattern", [listed("antennaPatternList", patterns)]


def _timing(overflight: SlcFlight, byte_offsets: Sequence[int]) -> Node:
    acquisition, frame = overflight.acquisition, overflight.acquisition.frame
    inner = frame.lines - 2 * iw.INVALID_LINES
    outer = [-1] * iw.INVALID_LINES
    bursts = []
    for index, (start, offset) in enumerate(zip(acquisition.starts, byte_offsets, strict=True)):
        since = acquisition.orbit.since_node_s + acquisition.start_s(index)
        number = overflight.burst_number(index)
        absolute = number + round((overflight.flight.absolute_orbit - overflight.flight.track.relative_orbit)
                                  * PERIOD_S / 2.758273)  # fmt: skip
        bursts.append(
            (
                "burst",
                [
                    ("azimuthTime", start),
                    ("azimuthAnxTime", since),
                    ("sensingTime", start + timedelta(seconds=frame.lines * iw.LINE_S / 3)),
                    ("byteOffset", offset),
                    numbers("firstValidSample", outer + [iw.INVALID_SAMPLES] * inner + outer),
                    numbers(
                        "lastValidSample", outer + [frame.samples - 1 - iw.INVALID_SAMPLES] * inner + outer
                    ),
                    ("burstId", {"absolute": absolute}, number),
                ],
            )
        )
    return (
        "swathTiming",
        [
            ("linesPerBurst", frame.lines),
            ("samplesPerBurst", frame.samples),
            listed("burstList", bursts),
        ],
    )


def _point(point: GridPoint) -> Node:
    return (
        "geolocationGridPoint",
        [
            ("azimuthTime", point.time),
            ("slantRangeTime", point.delay_s),
            ("line", point.line),
            ("pixel", point.pixel),
            ("latitude", point.latitude_deg),
            ("longitude", point.longitude_deg),
            ("height", point.height_m),
            ("incidenceAngle", point.incidence_deg),
            ("elevationAngle", point.elevation_deg),
        ],
    )
