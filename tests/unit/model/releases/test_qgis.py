"""A zip opened in QGIS itself: project, styles, labels, the list of verdicts. Skipped where QGIS's Python is absent."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from model.releases.mailed_zip import PROJECT, write_zip

SYSTEM_PYTHON = "/usr/bin/python3"
"""for which Debian's `python3-qgis` is installed"""
SCRIPT = """
import json, sys
from qgis.core import QgsApplication, QgsProject, QgsVectorLayer
application = QgsApplication([], True)
application.initQgis()
project = QgsProject.instance()
found = {"read": project.read(sys.argv[1]), "crs": project.crs().authid(), "title": project.title(), "layers": {}}
found["ellipsoid"] = project.ellipsoid()
found["view"] = project.viewSettings().defaultViewExtent().isEmpty()
def of(layer):
    words = {"valid": layer.isValid(), "crs": layer.crs().authid(), "renderer": layer.renderer().type()}
    if isinstance(layer, QgsVectorLayer):
        number = layer.fields().indexOf("review")
        editor = layer.editorWidgetSetup(number)
        words["features"] = layer.featureCount()
        words["editor"] = [editor.type(), editor.config()] if number >= 0 else None
        words["labels"] = layer.labelsEnabled() and layer.labeling() is not None
        if words["labels"]:
            settings = layer.labeling().settings()
            words["labels"] = [settings.fieldName, settings.scaleVisibility, settings.minimumScale]
        words["alias"] = layer.attributeAlias(layer.fields().indexOf("area_ha"))
    return words
for layer in project.mapLayers().values():
    found["layers"][layer.id()] = of(layer)
alone = QgsVectorLayer(sys.argv[2] + "|layername=landslides", "alone", "ogr")
found["alone"] = of(alone)
print("RESULT" + json.dumps(found))
sys.stdout.flush()
import os
os._exit(0)  # QGIS may crash while it is taken down
"""


@pytest.fixture(scope="module")
def seen(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What QGIS says of project and GeoPackage."""
    environment = {
        "QT_QPA_PLATFORM": "offscreen",
        "PATH": os.defpath,
        "HOME": str(tmp_path_factory.mktemp("home")),
        "LANG": "C.UTF-8",
    }
    there = (
        Path(SYSTEM_PYTHON).exists()
        and not subprocess.run(
            [SYSTEM_PYTHON, "-c", "import qgis.core"], env=environment, capture_output=True, check=False
        ).returncode
    )
    if not there:
        pytest.skip("QGIS's Python (Debian's python3-qgis) is not installed: the zip is not opened in QGIS")
    root = tmp_path_factory.mktemp("zip")
    write_zip(folder, root / "map.zip")
    with zipfile.ZipFile(root / "map.zip") as file:
        file.extractall(root)
    (project,) = root.glob(f"*/{PROJECT}")
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", SCRIPT, str(project), str(project.with_name("landslides.gpkg"))],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    answers = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert answers, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(answers[0].removeprefix("RESULT"))
    return found


def test_the_project_has_its_system_its_view_and_no_broken_layer(seen: dict[str, Any]) -> None:
    assert (seen["read"], seen["crs"], seen["view"]) == (True, "EPSG:32654", False)
    assert seen["ellipsoid"] == "EPSG:7030" and "<script>alert(1)</script>" in seen["title"]
    assert len(seen["layers"]) == 9
    assert all(one["valid"] and one["crs"] == "EPSG:32654" for one in seen["layers"].values())


@pytest.mark.parametrize("where", ["project", "GeoPackage alone"])
def test_polygons_have_colours_numbers_and_a_list_of_verdicts(seen: dict[str, Any], where: str) -> None:
    one = seen["alone"] if where == "GeoPackage alone" else seen["layers"]["landslides_polygons"]
    assert one["renderer"] == "categorizedSymbol" and one["features"] > 0 and one["alias"] == "Area, ha"
    assert one["labels"] == ["id", True, 25000]
    kind, config = one["editor"]
    assert kind == "ValueMap"
    assert [value for entry in config["map"] for value in entry.values()] == [
        "unreviewed", "accepted", "rejected", "edited",
    ]  # fmt: skip
