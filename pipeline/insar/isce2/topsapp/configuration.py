"""topsApp.xml, the configuration of topsApp.

It states every value whose default is unwanted: enhanced spectral diversity is on by default, the looks are 7 x 19, and
without a DEM name topsApp downloads a DEM.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from pipeline.files import whole_file
from pipeline.insar.isce2.topsapp.steps import GEOCODED
from pipeline.records import Frozen

CONFIGURATION = "topsApp.xml"


class Configuration(Frozen):
    """The values of topsApp.xml. Paths are absolute or relative to the folder where topsApp runs."""

    reference: tuple[str, ...]
    secondary: tuple[str, ...]
    orbits: str
    polarisation: str
    swaths: tuple[int, ...]
    azimuth_looks: int
    range_looks: int
    dem: str
    geocoding_dem: str
    esd: bool
    esd_coherence: float
    region: tuple[float, float, float, float] | None = None  # west, south, east, north, degrees


def write_configuration(configuration: Configuration, work: Path) -> Path:
    """Write `work`/topsApp.xml; returns its path."""
    root = ET.Element("topsApp")
    insar = ET.SubElement(root, "component", name="topsinsar")
    _property(insar, "Sensor name", "SENTINEL1")
    for name, safes in (("reference", configuration.reference), ("secondary", configuration.secondary)):
        component = ET.SubElement(insar, "component", name=name)
        _property(component, "safe", safes[0] if len(safes) == 1 else str(list(safes)))
        _property(component, "orbit directory", configuration.orbits)
        _property(component, "output directory", name)
        _property(component, "polarization", configuration.polarisation)
    _property(insar, "swaths", str(list(configuration.swaths)))
    _property(insar, "range looks", str(configuration.range_looks))
    _property(insar, "azimuth looks", str(configuration.azimuth_looks))
    _property(insar, "do unwrap", "False")
    _property(insar, "do ESD", str(configuration.esd))
    _property(insar, "ESD coherence threshold", str(configuration.esd_coherence))
    _property(insar, "demFilename", configuration.dem)
    _property(insar, "geocodeDemFilename", configuration.geocoding_dem)
    _property(insar, "use virtual files", "True")
    _property(insar, "do ionosphere correction", "False")
    _property(insar, "geocode list", str(list(GEOCODED)))
    if configuration.region is not None:
        west, south, east, north = configuration.region
        _property(insar, "region of interest", str([south, north, west, east]))
    ET.indent(root)
    path = work / CONFIGURATION
    with whole_file(path) as partial:
        ET.ElementTree(root).write(partial, encoding="UTF-8", xml_declaration=True)
    return path


def _property(parent: ET.Element, name: str, value: str) -> None:
    ET.SubElement(parent, "property", name=name).text = value
