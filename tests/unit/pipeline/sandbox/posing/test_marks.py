"""What the sandbox serves of a simulated world says so on the wire; what it serves of real files does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.catalogue.item_fields import FILE_HEADER, ITEM_PROPERTY, says_simulated
from pipeline.sandbox.posing.asf.asf_host import DATAPOOL_HOST, SEARCH_HOST
from pipeline.sandbox.posing.faults import Ledger
from pipeline.sandbox.posing.hosts import PLANETARY_HOST, Archive
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.world import World
from tests.unit.pipeline.archives.test_search_area import dem_item
from tests.unit.pipeline.catalogue.test_passes import item
from tests.unit.slc_world import FLIGHTS, make_slc_world

INVENTORY_HOST = "inventories.slidecube.example"


def served(folder: Path, simulated: bool | None) -> Archive:
    """The archives of a world of one radar item, one elevation item, two passes and an inventory."""
    root = make_slc_world(folder / "w", FLIGHTS[:2]).world.root
    dem = dem_item(geometry=item()["geometry"], properties={"datetime": "2000-02-20T00:00:00Z"})
    items = [item() | {"collection": "sentinel-1-rtc"}, dem]
    for one in items:
        (root / "items" / f"{one['id']}.json").write_text(json.dumps(one))
    (root / "blobs" / INVENTORY_HOST).mkdir()
    (root / "blobs" / INVENTORY_HOST / "slides.geojson").write_text("{}")
    document = json.loads((root / "world.json").read_text()) | {"order": [one["id"] for one in items]}
    document.pop("simulated", None)
    if simulated is not None:
        document["simulated"] = simulated
    (root / "world.json").write_text(json.dumps(document))
    return Archive([World.open(root)], Ledger(), ServerOptions())


@pytest.mark.parametrize("simulated", [True, False, None])
def test_every_kind_of_answer_is_marked(tmp_path: Path, simulated: bool | None) -> None:
    archives = served(tmp_path, simulated)
    marked = simulated is not False

    def get(host: str, path: str) -> Any:
        return TestClient(archives, base_url=f"https://{host}").get(path)

    for collection in ("sentinel-1-rtc", "nasadem"):
        (found,) = get(PLANETARY_HOST, f"/api/stac/v1/search?collections={collection}").json()["features"]
        assert says_simulated(found) is marked, collection
        described = get(PLANETARY_HOST, f"/api/stac/v1/collections/{collection}").json()
        assert described.get(ITEM_PROPERTY, False) is marked
    for short_name in ("SENTINEL-1A_SLC", "SENTINEL-1_BURSTS"):
        page = get(SEARCH_HOST, f"/search/granules.umm_json?short_name={short_name}&provider=ASF").json()
        assert page["items"]
        assert {says_simulated(found) for found in page["items"]} == {marked}, short_name
    for host, path in ((INVENTORY_HOST, "/slides.geojson"), (INVENTORY_HOST, "/none")):
        answer = get(host, path)
        assert (FILE_HEADER in answer.headers) is (marked and answer.status_code == 200)
    assert DATAPOOL_HOST in archives.handlers
