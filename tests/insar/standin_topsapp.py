"""A simulated topsApp.py for tests, with its command line, files and failures, but without interferometry.

It reads topsApp.xml of its working directory, accepts --dostep, keeps its state below PICKLE/ like ISCE2, and writes
rasters in ISCE2's formats from a known truth on the grid of the geocoding DEM. Like ISCE2 it fails for unusable inputs
(orbit files, swaths, polarisations, the state of the previous step). Tests configure other failures in
`../standin.json`: {"step": ..., "how": ...}; with "times": n only the first n attempts fail.

The messages are those of ISCE2 2.6.5: applications/topsApp.py, isceobj/TopsProc, isceobj/Sensor/TOPS/Sentinel1.py.

Each step is a process of its own. numpy is imported only by those that write rasters: a job has some twenty others.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

# ISCE2's own list, with its last three steps; the runner's list is another, so that a step it misspells fails here
STEPS = [
    "startup",
    "preprocess",
    "computeBaselines",
    "verifyDEM",
    "topo",
    "subsetoverlaps",
    "coarseoffsets",
    "coarseresamp",
    "overlapifg",
    "prepesd",
    "esd",
    "rangecoreg",
    "fineoffsets",
    "fineresamp",
    "ion",
    "burstifg",
    "mergebursts",
    "filter",
    "unwrap",
    "unwrap2stage",
    "geocode",
    "denseoffsets",
    "filteroffsets",
    "geocodeoffsets",
]
VERSION = "2.6.5"


def truth(longitude, latitude):
    """Coherence, amplitude, phase (radians) and incidence (degrees) at points in degrees; the footprint is a disk."""
    import numpy as np

    x = (longitude - 142.0) * 100
    y = (latitude - 42.7) * 100
    inside = x**2 + y**2 < 4.0**2
    coherence = np.where(inside, 0.5 + 0.4 * np.sin(x) * np.cos(y), 0)
    amplitude = np.where(inside, 100 + 10 * x, 0)
    phase = np.where(inside, 0.7 * x + 0.3 * y, 0)
    incidence = np.where(inside, 39 + 0.1 * x, 0)
    return coherence, amplitude, phase, incidence


def main() -> int:
    """Like topsApp, return 0 after some failures."""
    step = next((word.split("=", 1)[1] for word in sys.argv if word.startswith("--dostep=")), None)
    if not Path("topsApp.xml").is_file() or step is None:
        print("Exception: No topsApp.xml", file=sys.stderr)
        return 1
    asked = read_configuration()
    if step not in STEPS:
        print(f"ERROR: start={step} is not one of the named steps")
        return 0
    number = STEPS.index(step)
    if number and not Path("PICKLE", STEPS[number - 1]).exists():
        print(f"Cannot open PICKLE/{STEPS[number - 1]}")
    order = ordered(step)
    print(f"Running step {step}")
    if order.get("how") in BEFORE:
        BEFORE[order["how"]]()
    if order.get("how") == "unknown-step":
        print(f"ERROR: start={step} is not one of the named steps")
        return 0
    if order.get("how") == "silent":
        return 0
    if step == "preprocess":
        preprocess(asked)
    elif step == "computeBaselines":
        baselines(asked)
    elif step == "esd" and asked["do ESD"] == "True":
        if order.get("how") == "incoherent":
            raise RuntimeError("Coherence threshold too strict. No points left for reliable ESD estimate")
        report("    <esd>\n        <Median>-0.00012</Median>\n        <Mean>-0.0001</Mean>\n    </esd>\n")
    elif step == "topo":
        per_swath(asked, "geom_reference", ("lat_01.rdr", "los_01.rdr"))
    elif step == "fineresamp":
        per_swath(asked, "fine_coreg", ("burst_01.slc",))
    elif step == "burstifg":
        per_swath(asked, "fine_interferogram", ("burst_01.int", "burst_01.cor"))
    elif step == "mergebursts":
        merge()
    elif step == "filter":
        filter_phase()
    elif step == "geocode":
        geocode(asked, order.get("how", ""))
    if not Path("topsProc.xml").exists():
        report("")
    Path("PICKLE").mkdir(exist_ok=True)
    for name in (step, f"{step}.xml"):
        Path("PICKLE", name).write_text("state", encoding="utf-8")
    if order.get("how") == "forget-file":
        for name in Path("merged").glob("topophase.cor*"):
            name.unlink()
    print("The remaining steps are (in order): ", STEPS[number + 1 :])
    return 0


def ordered(step):
    """The failure that the test configured for this attempt of the step."""
    file = Path("../standin.json")
    order = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    with Path("../attempts.txt").open("a", encoding="utf-8") as attempts:
        attempts.write(f"{step}\n")
    if order.get("step") != step:
        return {}
    made = Path("../attempts.txt").read_text(encoding="utf-8").split().count(step)
    return order if made <= order.get("times", 10**6) else {}


def read_configuration():
    """The properties of topsApp.xml; those of an acquisition have names such as 'reference safe'."""
    root = ET.parse("topsApp.xml").getroot().find("component[@name='topsinsar']")
    asked = {item.get("name"): item.text for item in root.findall("property")}
    for side in ("reference", "secondary"):
        for item in root.findall(f"component[@name='{side}']/property"):
            asked[f"{side} {item.get('name')}"] = item.text
    return asked


def swaths(asked):
    return ast.literal_eval(asked["swaths"])


def preprocess(asked):
    counts = {}
    for side in ("reference", "secondary"):
        safe = asked[f"{side} safe"]
        folders = ast.literal_eval(safe) if safe.startswith("[") else [safe]
        for swath in swaths(asked):
            try:
                for folder in folders:
                    read_swath(
                        Path(folder),
                        swath,
                        asked[f"{side} polarization"],
                        Path(asked[f"{side} orbit directory"]),
                    )
                Path(side, f"IW{swath}").mkdir(parents=True, exist_ok=True)
                Path(side, f"IW{swath}.xml").write_text("<product/>", encoding="utf-8")
                counts[side, swath] = 2
            except Exception as error:
                print(f"Could not extract swath {swath} from {folders}")
                print("Generated error: ", error)
    for side in ("reference", "secondary"):
        numbers = "".join(
            f"        <numberOfBursts_{swath}>{count}</numberOfBursts_{swath}>\n"
            for (of, swath), count in counts.items()
            if of == side
        )
        report(f"    <{side}>\n{numbers}    </{side}>\n")


def read_swath(safe, swath, polarisation, orbits):
    if not list(safe.glob(f"annotation/s1?-iw{swath}-slc-{polarisation}*.xml")):
        raise RuntimeError(f"No annotation xml file found in {safe}")
    if not list(safe.glob(f"measurement/s1?-iw{swath}-slc-{polarisation}*.tiff")):
        raise RuntimeError(f"No tiff file found in directory: {safe}")
    mission, start, stop = (safe.name.split("_")[number] for number in (0, 5, 6))
    start, stop = (datetime.strptime(time, "%Y%m%dT%H%M%S") for time in (start, stop))
    for kind in ("POEORB", "RESORB"):
        for file in orbits.glob(f"{mission}_OPER_AUX_{kind}_OPOD*"):
            fields = file.name.split("_")
            before = datetime.strptime(fields[-2][1:16], "%Y%m%dT%H%M%S")
            after = datetime.strptime(fields[-1][:15], "%Y%m%dT%H%M%S")
            if before <= start and after >= stop:
                return
    raise RuntimeError(
        "No suitable orbit file found. If you want to process anyway - unset the orbitdir parameter"
    )


def baselines(asked):
    lines = []
    for swath in swaths(asked):
        if not (Path(f"reference/IW{swath}.xml").exists() and Path(f"secondary/IW{swath}.xml").exists()):
            print(f"Skipping processing for swath number IW-{swath}")
            continue
        print("Estimated burst offset: ", 0)
        lines.append(f"        <IW-{swath}_Number_of_common_bursts>2</IW-{swath}_Number_of_common_bursts>\n")
    report(f"    <baseline>\n{''.join(lines)}    </baseline>\n")


def per_swath(asked, folder, names):
    for swath in swaths(asked):
        Path(folder, f"IW{swath}").mkdir(parents=True, exist_ok=True)
        Path(folder, f"IW{swath}.xml").write_text("<product/>", encoding="utf-8")
        for name in names:
            Path(folder, f"IW{swath}", name).write_bytes(bytes(64))


def merge():
    import numpy as np

    Path("merged").mkdir(exist_ok=True)
    write("merged/topophase.cor", np.ones((2, 8, 8), np.float32), "cor")
    write("merged/topophase.flat", np.ones((1, 8, 8), np.complex64), "int")
    write("merged/los.rdr", np.ones((2, 8, 8), np.float32), "bil")


def filter_phase():
    import numpy as np

    write("merged/filt_topophase.flat", np.ones((1, 8, 8), np.complex64), "int")


def geocode(asked, how):
    import numpy as np

    wanted = [name for name in ast.literal_eval(asked["geocode list"]) if Path(name).exists()]
    print("Number of products to geocode: ", len(wanted))
    if not wanted:
        print("No products found to geocode")
        return
    dem = Path(asked["geocodeDemFilename"])
    grid = read_header(dem)
    heights = np.fromfile(dem, np.float32)
    assert heights.size == grid["width"] * grid["length"]
    assert grid["reference"] == "WGS84", "the geoid would be applied again"
    # as geozero.f90: value i is that of the point first + i * delta
    longitude = grid["lon"] + grid["dlon"] * np.arange(grid["width"])[None, :]
    latitude = grid["lat"] + grid["dlat"] * np.arange(grid["length"])[:, None]
    coherence, amplitude, phase, incidence = truth(longitude, latitude)
    flat = np.where(amplitude > 0, amplitude * np.exp(1j * phase), 0).astype(np.complex64)
    if how == "nan":
        coherence = np.where(coherence > 0.8, np.nan, coherence)
    elif how == "too-coherent":
        coherence = coherence * 1.5
    elif how == "empty":
        coherence, amplitude, flat = coherence * 0, amplitude * 0, flat * 0
    elif how == "elsewhere":
        grid = {**grid, "lon": grid["lon"] + 5}
    rasters = {
        "merged/topophase.cor": np.stack([amplitude, coherence]).astype(np.float32),
        "merged/topophase.flat": flat[None],
        "merged/los.rdr": np.stack([incidence, incidence * 0 - 100]).astype(np.float32),
    }
    for name in wanted:
        write(f"{name}.geo", rasters[name], name.split(".")[-1], grid)
    if how == "truncated":
        with Path("merged/topophase.cor.geo").open("r+b") as file:
            file.truncate(Path("merged/topophase.cor.geo").stat().st_size // 2)


def read_header(raster):
    root = ET.parse(f"{raster}.xml").getroot()
    plain = {item.get("name").lower(): item.findtext("value") for item in root.findall("property")}
    axes = {
        axis.get("name"): {item.get("name"): item.findtext("value") for item in axis.findall("property")}
        for axis in root.findall("component")
    }
    return {
        "width": int(plain["width"]),
        "length": int(plain["length"]),
        "reference": plain.get("reference", "EGM96"),
        "lon": float(axes["coordinate1"]["startingvalue"]),
        "dlon": float(axes["coordinate1"]["delta"]),
        "lat": float(axes["coordinate2"]["startingvalue"]),
        "dlat": float(axes["coordinate2"]["delta"]),
    }


def write(name, bands, kind, grid=None):
    """A raster interleaved by line with its .xml and .vrt, in the form of ISCE2's renderHdr."""
    count, length, width = bands.shape
    bands.transpose(1, 0, 2).tofile(name)
    if Path(name).stat().st_size != bands.nbytes:
        raise OSError(28, "No space left on device")
    grid = grid or {"lon": 0.0, "dlon": 1.0, "lat": 0.0, "dlat": 1.0}
    kind_of_value = "CFLOAT" if bands.dtype == "complex64" else "FLOAT"
    properties = {
        "ISCE_VERSION": f"Release: {VERSION}, svn-, 20250101. Current: svn-.",
        "access_mode": "read",
        "byte_order": "l",
        "data_type": kind_of_value,
        "family": "image",
        "file_name": name,
        "image_type": kind,
        "length": length,
        "number_bands": count,
        "scheme": "BIL",
        "width": width,
        "xmax": grid["lon"] + width * grid["dlon"],
        "xmin": grid["lon"],
    }
    root = ET.Element("imageFile")
    for key, value in properties.items():
        ET.SubElement(ET.SubElement(root, "property", name=key), "value").text = str(value)
    for axis, start, delta, size in (
        ("coordinate1", grid["lon"], grid["dlon"], width),
        ("coordinate2", grid["lat"], grid["dlat"], length),
    ):
        component = ET.SubElement(root, "component", name=axis)
        ET.SubElement(component, "factorymodule").text = "isceobj.Image"
        ET.SubElement(component, "factoryname").text = "createCoordinate"
        for key, value in (
            ("delta", delta),
            ("endingvalue", start + size * delta),
            ("family", "imagecoordinate"),
            ("name", f"imagecoordinate_{axis}"),
            ("size", size),
            ("startingvalue", start),
        ):
            ET.SubElement(ET.SubElement(component, "property", name=key), "value").text = repr(value)
    ET.ElementTree(root).write(f"{name}.xml")
    Path(f"{name}.vrt").write_text("<VRTDataset/>", encoding="utf-8")


def report(section):
    """Write topsProc.xml in ISCE2's form, with colons in tags."""
    head = (
        f"<topsProc>\n    <insarProc>\n        <ISCE_VERSION>Release: {VERSION}, svn-, 20250101. Current svn-"
        "</ISCE_VERSION>\n    </insarProc>\n    <common>\n        <Input_list_of_swaths_to_process:_>[1]"
        "</Input_list_of_swaths_to_process:_>\n    </common>\n"
    )
    file = Path("topsProc.xml")
    text = file.read_text(encoding="utf-8") if file.exists() else f"{head}</topsProc>\n"
    name = re.match(r"\s*<(\w+)>", section)
    if name:
        text = re.sub(rf"    <{name[1]}>.*?</{name[1]}>\n", "", text, flags=re.DOTALL)
    file.write_text(text.replace("</topsProc>", f"{section}</topsProc>"), encoding="utf-8")


def hang():
    """Hang with a child process, like ISCE2's os.system calls; both ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", child])
    Path("../hanging.txt").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)


def eat_memory():
    import numpy as np

    held = []
    for _ in range(400):
        held.append(np.ones(2**21))  # 16 MiB at a time
        time.sleep(0.01)
    print(len(held))


def eat_memory_at_once():
    import numpy as np

    print(np.ones(2**29).sum())  # 4 GiB


def fill_disk():
    with Path("rest.bin").open("wb") as file:
        while True:
            file.write(bytes(2**20))
            file.flush()


def raise_error():
    raise RuntimeError("Unexpected thing in a step")


BEFORE = {
    "generated-error": lambda: print("Generated error:  something unforeseen"),
    "no-offset": lambda: print("Generated error:  Could not determine a suitable burst offset"),
    "raise": raise_error,
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": hang,
    "eat-memory": eat_memory,
    "eat-memory-at-once": eat_memory_at_once,
    "fill-disk": fill_disk,
}


if __name__ == "__main__":
    sys.exit(main())
