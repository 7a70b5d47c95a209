"""The archives on loopback, asked by the clients that the pipeline uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac_client
import pytest
import rasterio
import requests
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import RasterioIOError

from pipeline.areas.area import AreaOfInterest
from pipeline.sandbox.cli import sandbox as commands
from pipeline.sandbox.earth.parameters import SandboxError, TrackPlan, WorldParameters
from pipeline.sandbox.posing.faults import Fault, Ledger
from pipeline.sandbox.posing.file_answers import locate
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.posing.signing import Signer
from pipeline.sandbox.world import World, make_world

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK declares its models in pydantic's old style
    import planetary_computer
    import planetary_computer.sas

AREA = AreaOfInterest.model_validate(
    {
        "name": "tiny",
        "bbox": (142.02, 42.70, 142.04, 42.715),
        "event": {
            "kind": "earthquake",
            "start": "2018-09-05T18:07:59Z",
            "end": "2018-09-05T18:07:59Z",
            "source": "simulated",
        },
        "start": "2018-06-01T00:00:00Z",
        "end": "2018-12-01T00:00:00Z",
    }
)
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=3, after=1, incidence_deg=35.9),)
)
STAC = "https://planetarycomputer.microsoft.com/api/stac/v1"
SAS = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
INVENTORY = "https://inventories.slidecube.example/tiny.gpkg"
ANY_BLOB = "*.blob.core.windows.net"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(AREA, tmp_path_factory.mktemp("archive") / "w", PARAMETERS)


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[Sandbox]:
    with Sandbox(world, options=ServerOptions(page_size=4)) as archives:
        yield archives


def enter(archives: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in archives.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR")
    monkeypatch.setattr(planetary_computer.sas, "TOKEN_CACHE", {})


@pytest.fixture
def inside(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    running.reset()
    enter(running, monkeypatch)
    return running


def scene_item(world: World) -> dict:
    return next(item for item in world.items if item["collection"] == "sentinel-1-rtc")


def scene_url(world: World) -> str:
    return str(scene_item(world)["assets"]["vv"]["href"])


def scene_bytes(world: World) -> bytes:
    return (world.root / "blobs" / scene_url(world).removeprefix("https://")).read_bytes()


def test_pystac_client_pages_through_the_search(inside: Sandbox, world: World) -> None:
    client = pystac_client.Client.open(STAC)
    search = client.search(collections=["sentinel-1-rtc"], bbox=AREA.bbox, datetime="2018-06-01/2018-12-01")
    found = [item.id for item in search.items()]
    expected = [item["id"] for item in world.items if item["collection"] == "sentinel-1-rtc"]
    assert found == expected
    assert len(set(found)) == len(found) - 1
    posts = [entry for entry in inside.log if entry.path.endswith("/search")]
    assert len(posts) == -(-len(expected) // 4)
    assert {entry.method for entry in posts} == {"POST"}


def test_pystac_client_searches_with_get_and_lists_a_collection(inside: Sandbox, world: World) -> None:
    client = pystac_client.Client.open(STAC)
    found = list(
        client.search(method="GET", collections=["nasadem"], intersects=AREA.footprint_geojson).items()
    )
    assert [item.id for item in found] == ["NASADEM_HGT_n42e142"]
    collection = client.get_collection("sentinel-1-rtc")
    assert len(list(collection.get_items())) == sum(i["collection"] == "sentinel-1-rtc" for i in world.items)
    assert collection.get_item(scene_item(world)["id"]) is not None
    assert {child.id for child in client.get_collections()} == {"sentinel-1-rtc", "nasadem", "cop-dem-glo-30"}


def test_a_real_answer_is_paged_in_the_same_words(inside: Sandbox, shared_data: Path) -> None:
    import yaml

    cassette = shared_data / "stac_search_cassettes/tests/cassettes/test_item_search"
    recorded = yaml.safe_load((cassette / "TestItemSearch.test_result_paging.yaml").read_text())
    exchange = recorded["interactions"][0]
    body = json.loads(exchange["request"]["body"]) | {"collections": ["sentinel-1-rtc"], "bbox": AREA.bbox}
    answer = requests.post(f"{STAC}/search", json=body, timeout=30)
    assert answer.headers["content-type"] == exchange["response"]["headers"]["Content-Type"][0]
    link = answer.json()["links"][0]
    assert set(link) == {"rel", "type", "method", "href", "body"}
    assert link["body"] == json.loads(json.dumps(body)) | {"token": link["body"]["token"]}
    assert link["body"]["token"].startswith("next:sentinel-1-rtc:")


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"datetime": "2018-09-05T18:07:59Z/.."}, 4),
        ({"datetime": "../2018-09-05T18:07:59Z"}, 8),
        ({"datetime": "2018-09-05T20:31:59Z"}, 2),
        ({"datetime": "1999-01-01T00:00:00Z/2000-01-01T00:00:00Z"}, 0),
        ({"bbox": [0, 0, 1, 1]}, 0),
        ({"ids": []}, 0),
        ({"query": {"sat:relative_orbit": {"eq": 46}}}, 12),
        ({"query": {"sat:relative_orbit": {"eq": 47}}}, 0),
    ],
)
def test_the_search_filters(inside: Sandbox, world: World, body: dict, count: int) -> None:
    asked = {"collections": ["sentinel-1-rtc"], "limit": 1000, **body}
    found: list[str] = []
    while True:
        page = requests.post(f"{STAC}/search", json=asked, timeout=30).json()
        found += [feature["id"] for feature in page["features"]]
        following = [link for link in page["links"] if link["rel"] == "next"]
        if not following:
            break
        asked = following[0]["body"]
    # the item that is answered twice may or may not be among those that match
    twice = next(item["id"] for item in world.items if item["collection"] == "sentinel-1-rtc")
    assert len(set(found)) == count
    assert len(found) - len(set(found)) == (1 if twice in found else 0)


@pytest.mark.parametrize(
    "body",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": [5, 0, 1, 1]},
        {"bbox": ["a", 0, 1, 1]},
        {"datetime": "yesterday"},
        {"datetime": "2019-01-01T00:00:00Z/2018-01-01T00:00:00Z"},
        {"datetime": "2019-01-01T00:00:00"},
        {"limit": 0},
        {"limit": 100000},
        {"collections": "sentinel-1-rtc"},
        {"intersects": {"type": "Blob"}},
        {"intersects": {"type": "Point", "coordinates": [0, 0]}, "bbox": [0, 0, 1, 1]},
        {"token": "next:x:y@999"},
        {"filter": {"op": "="}},
        [1, 2],
    ],
)
def test_nonsense_is_a_bad_request(inside: Sandbox, body: object) -> None:
    answer = requests.post(f"{STAC}/search", json=body, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["description"]


def test_a_signed_scene_is_read_and_an_unsigned_one_is_refused(inside: Sandbox, world: World) -> None:
    url = scene_url(world)
    with rasterio.open(planetary_computer.sign(url)) as remote:
        values = remote.read(1)
    with rasterio.open(world.root / "blobs" / url.removeprefix("https://")) as local:
        assert np.array_equal(values, local.read(1))
    with pytest.raises(RasterioIOError, match="403"):
        rasterio.open(url)
    answer = requests.get(url, timeout=30)
    assert answer.status_code == 403
    assert "<Code>AuthenticationFailed</Code>" in answer.text
    assert all("sig=" not in entry.path for entry in inside.log)


def test_whole_items_are_signed_by_the_sdk(inside: Sandbox, world: World) -> None:
    client = pystac_client.Client.open(STAC, modifier=planetary_computer.sign_inplace)
    item = next(iter(client.search(ids=[scene_item(world)["id"]]).items()))
    assert requests.head(item.assets["vh"].href, timeout=30).status_code == 200


def test_tokens_expire_and_hold_for_one_container_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(world, options=ServerOptions(token_lifetime_s=1.0)) as archives:
        enter(archives, monkeypatch)
        url = scene_url(world)
        answer = requests.get(f"{SAS}/sentinel1euwestrtc/sentinel1-grd-rtc", timeout=30).json()
        expiry = datetime.fromisoformat(answer["msft:expiry"])
        while datetime.now(UTC) < expiry:
            time.sleep(0.05)
        late = requests.get(f"{url}?{answer['token']}", timeout=30)
        assert late.status_code == 403
        assert "Expiry" in late.text
    with Sandbox(world) as archives:
        enter(archives, monkeypatch)
        other = requests.get(f"{SAS}/sentinel1euwestrtc/another", timeout=30).json()["token"]
        assert requests.get(f"{url}?{other}", timeout=30).status_code == 403
        assert requests.get(f"{url}?{answer['token']}", timeout=30).status_code == 403  # another secret


def test_a_subscription_key_can_be_demanded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(world, options=ServerOptions(subscription_key="open-sesame")) as archives:
        enter(archives, monkeypatch)
        url = f"{SAS}/sentinel1euwestrtc/sentinel1-grd-rtc"
        assert requests.get(url, timeout=30).status_code == 401
        for key, status in (("wrong", 401), ("open-sesame", 200)):
            headers = {"Ocp-Apim-Subscription-Key": key}
            assert requests.get(url, headers=headers, timeout=30).status_code == status


def test_ranges_heads_and_conditions(inside: Sandbox, world: World) -> None:
    url, content = planetary_computer.sign(scene_url(world)), scene_bytes(world)
    whole = requests.get(url, timeout=30)
    assert whole.content == content
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["last-modified"].endswith("GMT")
    head = requests.head(url, timeout=30)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(content)), b"")
    assert head.headers["etag"] == whole.headers["etag"]
    for text, expected in (
        ("bytes=10-19", content[10:20]),
        ("bytes=100-", content[100:]),
        ("bytes=-7", content[-7:]),
        (f"bytes=5-{len(content) + 50}", content[5:]),
    ):
        part = requests.get(url, headers={"Range": text}, timeout=30)
        assert part.status_code == 206
        assert part.content == expected
        assert part.headers["content-range"].endswith(f"/{len(content)}")
    past = requests.get(url, headers={"Range": f"bytes={len(content)}-"}, timeout=30)
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{len(content)}")
    same = requests.get(url, headers={"If-None-Match": whole.headers["etag"]}, timeout=30)
    assert same.status_code == 304
    absent = requests.get(planetary_computer.sign(scene_url(world) + "f"), timeout=30)
    assert absent.status_code == 404
    assert "<Code>BlobNotFound</Code>" in absent.text


def test_the_inventory_needs_no_signature(inside: Sandbox, world: World) -> None:
    answer = requests.get(INVENTORY, timeout=30)
    assert answer.content == (world.root / "blobs" / INVENTORY.removeprefix("https://")).read_bytes()
    assert answer.headers["etag"]
    assert requests.get(INVENTORY, headers={"Range": "bytes=0-3"}, timeout=30).content == answer.content[:4]
    assert requests.get(INVENTORY + "x", timeout=30).status_code == 404
    assert requests.post(INVENTORY, timeout=30).status_code == 405


@pytest.mark.parametrize("url", ["https://example.com/", "http://example.com/", "https://169.254.169.254/"])
def test_unknown_hosts_are_refused_at_the_door(inside: Sandbox, url: str) -> None:
    if url.startswith("https"):
        with pytest.raises(requests.exceptions.ProxyError, match="403"):
            requests.get(url, timeout=30)
    else:
        assert requests.get(url, timeout=30).status_code == 403


def test_a_host_header_cannot_reach_what_the_door_did_not_open(inside: Sandbox) -> None:
    answer = requests.get(INVENTORY, headers={"Host": "elsewhere.example"}, timeout=30)
    assert answer.status_code == 421


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_path_leads_out_of_a_world(host: str, path: str) -> None:
    found = locate((Path(__file__).parent,), host, path)
    assert found is None or found.is_relative_to(Path(__file__).parent / "blobs")
    assert locate((Path(__file__).parents[5],), "..", "pyproject.toml") is None


def test_faults_come_as_ordered_and_end(inside: Sandbox, world: World) -> None:
    url = planetary_computer.sign(scene_url(world))
    inside.add_fault(
        Fault(action="status", status=429, retry_after_s=7, host=ANY_BLOB, method="GET", times=2, skip=1)
    )
    answers = [requests.get(url, timeout=30) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert [entry.fault for entry in inside.log if entry.path.endswith(".tiff")] == [
        None,
        "status",
        "status",
        None,
    ]


def test_a_body_can_be_cut(inside: Sandbox, world: World) -> None:
    url = planetary_computer.sign(scene_url(world))
    inside.add_fault(Fault(action="cut", host=ANY_BLOB, after_bytes=5000))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="5000 bytes read"):
        requests.get(url, timeout=30)
    assert inside.log[-1].bytes_sent == 5000
    assert requests.get(url, timeout=30).content == scene_bytes(world)


@pytest.mark.parametrize(("flaw", "detail"), [("wrong_token", "did not match"), ("stale_token", "Expiry")])
def test_bad_tokens_can_be_handed_out(inside: Sandbox, world: World, flaw: str, detail: str) -> None:
    inside.add_fault(Fault(action=flaw, path="/api/sas/*"))  # type: ignore[arg-type]
    url = f"{SAS}/sentinel1euwestrtc/sentinel1-grd-rtc"
    bad, good = (requests.get(url, timeout=30).json()["token"] for _ in range(2))
    refused = requests.get(f"{scene_url(world)}?{bad}", timeout=30)
    assert refused.status_code == 403
    assert detail in refused.text
    assert requests.get(f"{scene_url(world)}?{good}", timeout=30).status_code == 200


def test_an_answer_can_be_delayed(inside: Sandbox) -> None:
    inside.add_fault(Fault(action="delay", delay_s=30, host="inventories.*"))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(INVENTORY, timeout=0.3)
    assert requests.get(INVENTORY, timeout=30).status_code == 200


def test_malformed_faults_are_refused(inside: Sandbox) -> None:
    answer = requests.post("https://sandbox.slidecube.example/faults", json={"action": "explode"}, timeout=30)
    assert answer.status_code == 400
    assert requests.get(INVENTORY, timeout=30).status_code == 200


def test_the_log_counts_bytes(inside: Sandbox, world: World) -> None:
    size = len(requests.get(INVENTORY, timeout=30).content)
    requests.get(INVENTORY, headers={"Range": "bytes=0-9"}, timeout=30)
    assert inside.bytes_sent == size + 10
    assert [(e.method, e.status, e.range) for e in inside.log] == [
        ("GET", 200, None),
        ("GET", 206, "bytes=0-9"),
    ]
    inside.reset()
    assert inside.log == ()


def test_the_authority_leaves_nothing_behind_and_dies_with_its_owner(world: World, tmp_path: Path) -> None:
    program = (
        "import json, pathlib, sys, time\n"
        "from pipeline.sandbox.posing.server import Sandbox\n"
        "with Sandbox(pathlib.Path(sys.argv[1])) as archives:\n"
        "    print(json.dumps(archives.environment), flush=True)\n"
        "    time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(world.root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[5],
    )
    assert owner.stdout is not None
    environment = json.loads(owner.stdout.readline())
    bundle = Path(environment["SSL_CERT_FILE"])
    assert bundle.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["ca-bundle.pem", "netrc"]
    assert (bundle.parent / "netrc").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" not in bundle.read_text()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    for _ in range(200):
        if not bundle.parent.exists():
            break
        time.sleep(0.05)
    assert not bundle.parent.exists()


def test_nothing_is_served_without_a_finished_world(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=tmp_path.name):
        Sandbox(tmp_path)
    with pytest.raises(SandboxError, match="world"):
        Sandbox()


def test_a_signature_is_bound_to_its_times() -> None:
    signer = Signer()
    token, _ = signer.token("a", "c")
    assert signer.refusal("a.blob.core.windows.net", "c", token) is None
    assert signer.refusal("a.blob.core.windows.net", "c", token.replace("se=20", "se=21")) is not None
    assert signer.refusal("b.blob.core.windows.net", "c", token) is not None


def test_rules_are_tried_in_order() -> None:
    ledger = Ledger()
    ledger.add_fault(Fault(action="status", path="/a*", times=1))
    ledger.add_fault(Fault(action="delay", times=None))
    taken = [ledger.take_fault("GET", "h", path) for path in ("/b", "/a", "/a")]
    assert [fault.action if fault else None for fault in taken] == ["delay", "status", "delay"]


def test_commands_make_and_run(tmp_path: Path) -> None:
    area = tmp_path / "tiny.yaml"
    area.write_text(AREA.model_dump_json())
    chosen = tmp_path / "parameters.json"
    chosen.write_text(PARAMETERS.model_copy(update={"resolution_m": 40.0}).model_dump_json())
    made = CliRunner().invoke(
        commands,
        ["make", str(area), "--out", str(tmp_path / "w"), "--parameters", str(chosen), "--seed", "5"],
    )
    assert made.exit_code == 0, made.output
    assert World.open(tmp_path / "w").document["parameters"]["seed"] == 5
    code = f"import requests, sys; sys.exit(requests.get({INVENTORY!r}).status_code - 200 + 3)"
    program = "from pipeline.sandbox.cli import sandbox; sandbox()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "run", str(tmp_path / "w"), "--", sys.executable, "-c", code],
        cwd=Path(__file__).parents[5],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ran.returncode == 3
    lost = CliRunner().invoke(commands, ["run", str(tmp_path / "w"), "--", "no-such-program"])
    assert lost.exit_code == 2 and "no-such-program" in lost.output
