"""Answers and products of HyP3 that are not what was ordered: each is refused with its name, and no secret leaves."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pydantic import SecretStr

from pipeline.archives.credentials import Credentials
from pipeline.archives.earthdata import Earthdata, LoginError
from pipeline.errors import ArchiveError, InterferometryError
from pipeline.insar.hyp3.hyp3_api import JOB_TYPE, CostRule, Hyp3, JobOrder
from pipeline.insar.hyp3.hyp3_backend import Hyp3Backend
from pipeline.insar.hyp3.hyp3_products import check_name
from pipeline.insar.job import JobManifest, folder_of
from pipeline.sandbox.posing.asf.hyp3_host import COSTS
from pipeline.settings import settings
from tests.unit.hyp3_world import manifest_of, prepared
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, standing_for_all_hosts

HOST = "hyp3-api.asf.alaska.edu"
STORE = "d3gm2hf49xd6jj.cloudfront.net"
TOKEN = "to.k-en"
JOB = "27836b79-e5b2-4d8f-932f-659724ea02c3"
NAME = "S1_046_000000s1n00-098460s2n01-000000s3n00_IW_20180824_20180905_VV_INT20_77F1"
REFERENCE = ("S1_098460_IW2_20180824T204304_VV_A000-BURST",)
SECONDARY = ("S1_098460_IW2_20180905T204305_VV_A001-BURST",)
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def manifest() -> JobManifest:
    return manifest_of(REFERENCE, SECONDARY)


class Service:
    """HyP3 and its store, with one finished job of the order; a test changes what it says."""

    def __init__(self, server: Loopback, folder: Path, manifest: JobManifest) -> None:
        self.order = JobOrder.of(manifest)
        self.folder, self.server = folder, server
        self.files = product_files()
        self.job: dict[str, Any] = {
            "job_id": JOB, "job_type": JOB_TYPE, "user_id": "somebody", "status_code": "SUCCEEDED",
            "request_time": "2026-01-01T00:00:00+00:00", "name": self.order.name,
            "job_parameters": self.order.parameters, "expiration_time": "2126-01-15T00:00:00+00:00",
        }  # fmt: skip
        self.pages: list[dict[str, Any]] | None = None
        self.posted: Reply | None = None
        self.file: dict[str, Any] = {}
        self.zip_name = NAME
        server.rules.append(self._answer)

    def _answer(self, seen: Seen) -> Reply | None:
        host, _, path = seen.path.partition("/")
        if host == HOST and path == "user":
            return answer({"application_status": "APPROVED", "remaining_credits": 10})
        if host == HOST and path == "costs":
            return answer(COSTS)
        if host == HOST and seen.method == "POST":
            return self.posted or answer({"jobs": [self.job]})
        if host == HOST and path.startswith("jobs?"):
            token = path.partition("start_token=")[2]
            return answer(self.pages[int(token or 0)] if self.pages else {"jobs": [self.finished()]})
        if host == HOST and path.startswith("jobs/"):
            return answer(self.finished())
        return None

    def finished(self) -> dict[str, Any]:
        """The job with its file, which lies in the store."""
        path = self.folder / "product.zip"
        if not path.exists():
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in self.files.items():
                    archive.writestr(name, content)
        content = path.read_bytes()
        self.server.files[f"{STORE}/{JOB}/{NAME}.zip"] = content
        url = f"https://{STORE}/{JOB}/{NAME}.zip"
        file = {"url": url, "size": len(content), "filename": f"{NAME}.zip"} | self.file
        return {**self.job, "files": [file]}


def answer(document: Any) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(200, {"Content-Type": "application/json"}, body)


def raster(values: Any = None, *, pixel_m: float = 20.0, left: float = 589_700.0) -> bytes:
    """A GeoTIFF of 100 x 100 pixels around the truth's place."""
    rng = np.random.default_rng(1)
    found = rng.uniform(0.1, 0.9, (100, 100)).astype(np.float32) if values is None else values
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=found.shape[0], width=found.shape[1], count=1, dtype=found.dtype.name,
            crs="EPSG:32654", transform=Affine(pixel_m, 0, left, 0, -pixel_m, 4_682_460), nodata=0,
        ) as image:  # fmt: skip
            image.write(found, 1)
        return bytes(memory.read())


def product_files() -> dict[str, bytes]:
    """A product that is right."""
    stated = (
        f"Reference Granule: {REFERENCE[0]}\nSecondary Granule: {SECONDARY[0]}\n"
        "Range looks: 5\nAzimuth looks: 1\nDEM source: GLO_30\n"
    )
    flat = np.full((100, 100), np.radians(52), np.float32)
    return {
        f"{NAME}/{NAME}.txt": stated.encode(),
        f"{NAME}/{NAME}_corr.tif": raster(),
        f"{NAME}/{NAME}_wrapped_phase.tif": raster(),
        f"{NAME}/{NAME}_lv_theta.tif": raster(flat),
    }


@pytest.fixture
def service(tmp_path: Path, manifest: JobManifest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("SLIDECUBE_HYP3_POLL_S", "0.05")
    monkeypatch.chdir(tmp_path)
    with brisk_settings(retries=1), Loopback() as server, standing_for_all_hosts(server):
        yield Service(server, tmp_path, manifest)
    settings.cache_clear()


def login(token: str | None = TOKEN) -> Earthdata:
    return Earthdata(Credentials(token=SecretStr(token)) if token else Credentials())


def run(service: Service, manifest: JobManifest, *, by: Earthdata | None = None) -> Path:
    job = prepared(service.folder / "job", manifest)
    Hyp3Backend(Hyp3(by or login())).run(job, manifest)
    return job


def hosts_with_login(service: Service) -> set[str]:
    return {
        seen.path.partition("/")[0]
        for seen in service.server.seen
        if "authorization" in seen.headers or "cookie" in seen.headers
    }


def test_a_product_without_amplitude_is_taken_and_says_so(service: Service, manifest: JobManifest) -> None:
    job = run(service, manifest)
    document = json.loads((folder_of(job)["products"] / "metadata.json").read_text())
    assert document["parameters"]["amplitude"] == "none in HyP3's product"
    assert document["parameters"]["beside"] == [] and document["versions"] == {"hyp3": "not stated"}
    with rasterio.open(folder_of(job)["products"] / "amplitude.tif") as image:
        assert np.isnan(image.read(1)).all()
    assert hosts_with_login(service) == {HOST}


PREFIX = f"{NAME}/{NAME}"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"../outside.txt": b"x"}, "hyp3-misfit"),
        ({"/etc/outside": b"x"}, "hyp3-misfit"),
        ({"other/file.txt": b"x"}, "hyp3-misfit"),
        ({f"{PREFIX}_corr.tif": None}, "hyp3-misfit"),
        ({f"{PREFIX}.txt": None}, "hyp3-misfit"),
        ({f"{PREFIX}.txt": b"Reference Granule: another\n"}, "hyp3-misfit"),
        ({f"{PREFIX}.txt": b"\xff\x00" * 200_000}, "hyp3-misfit"),
        ({f"{PREFIX}_corr.tif": b"no raster"}, "product-unreadable"),
        ({f"{PREFIX}_corr.tif": raster()[:3000]}, "product-unreadable"),
        ({f"{PREFIX}_corr.tif": raster(pixel_m=40.0)}, "product-misfit"),
        ({f"{PREFIX}_wrapped_phase.tif": raster(left=589_720.0)}, "product-misfit"),
        ({f"{PREFIX}_corr.tif": raster(np.ones((100, 100), np.uint8))}, "product-misfit"),
        ({f"{PREFIX}_corr.tif": raster(np.full((100, 100), 7, np.float32))}, "product-range"),
        ({f"{PREFIX}_corr.tif": raster(np.zeros((100, 100), np.float32))}, "product-empty"),
        (
            {
                f"{PREFIX}_{part}.tif": raster(left=900_000.0)
                for part in ("corr", "wrapped_phase", "lv_theta")
            },
            "product-elsewhere",
        ),
    ],
)
def test_a_product_that_is_wrong_is_refused(
    service: Service, manifest: JobManifest, files: dict[str, bytes | None], code: str
) -> None:
    changed = service.files | files
    service.files = {name: content for name, content in changed.items() if content is not None}
    with pytest.raises(InterferometryError) as caught:
        run(service, manifest)
    assert caught.value.code == code
    assert not (folder_of(service.folder / "job")["products"] / "metadata.json").exists()
    assert not (service.folder / "outside.txt").exists()


@pytest.mark.parametrize(
    "file",
    [
        {"filename": "../x.zip"},
        {"filename": "product.exe"},
        {"url": f"http://{STORE}/{JOB}/{NAME}.zip"},
        {"url": "file:///etc/passwd"},
        {"size": 2**50},
        {"size": -1},
        {"size": 12},
    ],
)
def test_a_file_of_another_form_is_not_fetched(
    service: Service, manifest: JobManifest, file: dict[str, Any]
) -> None:
    service.file = file
    with pytest.raises((InterferometryError, ArchiveError)):
        run(service, manifest)
    assert not list(folder_of(service.folder / "job")["scratch"].glob("*.zip"))


def test_a_job_of_the_same_name_and_other_bursts_is_not_ours(service: Service, manifest: JobManifest) -> None:
    others = service.order.parameters | {"reference": ["S1_098461_IW2_20180824T204307_VV_A000-BURST"]}
    service.pages = [{"jobs": [service.job | {"job_parameters": others, "status_code": "SUCCEEDED"}]}]
    service.posted = answer({"jobs": [service.job | {"job_parameters": others}]})
    with pytest.raises(ArchiveError, match="another job"):
        run(service, manifest)


def test_the_next_page_is_asked_of_the_service_whatever_address_it_names(service: Service) -> None:
    service.pages = [
        {"jobs": [], "next": "https://elsewhere.example/jobs?start_token=1"},
        {"jobs": [service.job]},
    ]
    assert [str(job.job_id) for job in Hyp3(login()).jobs_named(service.order.name)] == [JOB]
    assert {seen.path.partition("/")[0] for seen in service.server.seen} == {HOST}


def test_pages_without_an_end_are_left(service: Service) -> None:
    service.pages = [{"jobs": [], "next": f"https://{HOST}/jobs?start_token=0"}]
    with pytest.raises(ArchiveError, match="pages"):
        Hyp3(login()).jobs_named("x")


@pytest.mark.parametrize(
    "page", [b"<html>", b"[]", b'{"jobs": 1}', b'{"jobs": [{"job_id": "x"}]}', b"\xff", b"[" * 100_000]
)
def test_an_answer_that_is_no_list_of_jobs_is_named(service: Service, page: Any) -> None:
    service.pages = [page]
    with pytest.raises(ArchiveError):
        Hyp3(login()).jobs_named("x")


def test_the_words_of_a_refusal_are_shown_without_what_may_be_secret(
    service: Service, manifest: JobManifest
) -> None:
    detail = "no: https://host/a?token=s3cret \x1b[31m" + "x" * 5000
    service.posted = Reply(400, {}, json.dumps({"detail": detail}).encode())
    with pytest.raises(InterferometryError) as caught:
        Hyp3(login()).submit(service.order)
    assert caught.value.code == "hyp3-refused" and len(str(caught.value)) < 700
    assert "s3cret" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_login_that_is_absent_or_refused_is_named(service: Service, token: str | None) -> None:
    service.server.rules.insert(0, lambda seen: Reply(401) if seen.path.startswith(HOST) else None)
    with pytest.raises(LoginError) as caught:
        Hyp3(login(token)).account()
    assert TOKEN not in str(caught.value) and not caught.value.transient


def test_a_redirect_of_the_service_is_not_followed_with_the_login(service: Service) -> None:
    there = Reply(302, {"Location": "https://elsewhere.example/user"})
    service.server.rules.insert(0, lambda seen: there if seen.path == f"{HOST}/user" else None)
    with pytest.raises(ArchiveError):
        Hyp3(login()).account()
    assert {seen.path.partition("/")[0] for seen in service.server.seen} == {HOST}


def test_no_login_is_sent_to_a_host_that_is_not_asfs(service: Service) -> None:
    with pytest.raises(ArchiveError):
        login().ask_service("https://elsewhere.example/user")
    with pytest.raises(ArchiveError):
        login().ask_service(f"http://{HOST}/user")
    assert not service.server.seen


@pytest.mark.parametrize(
    ("looks", "count", "cost"),
    [("20x4", 1, 1), ("20x4", 5, 5), ("5x1", 2, 5), ("5x1", 15, 110), ("9x9", 1, None)],
)
def test_costs_are_looked_up_as_the_service_states_them(looks: str, count: int, cost: float | None) -> None:
    rule = CostRule.model_validate(COSTS[JOB_TYPE])
    assert rule.of({"looks": looks, "reference": ["x"] * count}) == cost
    assert (
        CostRule(cost=2).of({}) == 2
        and CostRule(cost_table={"a": "b"}, cost_parameters=("x",)).of({"x": "a"}) is None
    )


def test_the_name_is_that_of_what_is_asked_for(manifest: JobManifest) -> None:
    order = JobOrder.of(manifest)
    assert order.name == JobOrder.of(manifest).name and len(order.name) <= 100
    coarse = manifest.model_copy(update={"range_looks": 10, "azimuth_looks": 2})
    assert JobOrder.of(coarse).name != order.name
    nearer = manifest.model_copy(update={"bbox": (142.0, 42.0, 142.2, 42.3)})
    assert JobOrder.of(nearer).name == order.name, "the product of other boxes is the same"


@pytest.mark.parametrize("name", ["x.zip", f"{NAME}.tar", f"a/{NAME}.zip", f"{NAME}.zip\n", ""])
def test_names_of_other_products_are_refused(name: str) -> None:
    assert check_name(f"{NAME}.zip") == NAME
    with pytest.raises(InterferometryError):
        check_name(name)
