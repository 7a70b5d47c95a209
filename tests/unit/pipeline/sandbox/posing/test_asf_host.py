"""ASF's hosts on loopback, asked by asf-search itself and by plain clients."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asf_search
import pytest
import requests
import tenacity
import yaml
from asf_search.constants import INTERNAL
from asf_search.exceptions import ASFAuthenticationError, ASFSearch4xxError
from asf_search.search.search_generator import get_page
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from shapely.geometry import box, shape

from pipeline.catalogue.slc import Granule
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.asf.asf_host import (
    BURST_HOST,
    GRANULE_HOST,
    GRANULE_STORE,
    REPORT_HOST,
    SEARCH_HOST,
)
from pipeline.sandbox.posing.asf.earthdata_host import CLIENT_ID, LOGIN_HOST, Earthdata
from pipeline.sandbox.posing.asf.holdings import Holdings
from pipeline.sandbox.posing.asf.orbit_service import ORBIT_HOST
from pipeline.sandbox.posing.asf.umm import ascending_node, burst_item, granule_item
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from tests.unit.slc_world import FLIGHTS, SlcWorld, circle, empty_world, make_slc_world

GRANULES = f"https://{SEARCH_HOST}/search/granules.umm_json"
AREA = (142.1, 42.3, 142.3, 42.4)
RESPONSES = "asf_search_responses/tests/yml_tests/Resources"


@pytest.fixture(scope="module")
def slc(tmp_path_factory: pytest.TempPathFactory) -> SlcWorld:
    return make_slc_world(tmp_path_factory.mktemp("asf") / "w")


@pytest.fixture(scope="module")
def running(slc: SlcWorld) -> Iterator[Sandbox]:
    with Sandbox(slc.world, options=ServerOptions(login="both", burst_wait_s=0.05)) as archives:
        yield archives


def enter(archives: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    archives.reset()
    for name, value in archives.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(asf_search, "REPORT_ERRORS", False)
    monkeypatch.setattr(get_page.retry, "wait", tenacity.wait_none())
    return archives


@pytest.fixture
def inside(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    return enter(running, monkeypatch)


def search(**options: Any) -> asf_search.ASFSearchResults:
    found = asf_search.search(opts=asf_search.ASFSearchOptions(**options))
    assert found.searchComplete
    return found


def slc_search(**options: Any) -> list[str]:
    found = search(dataset="SENTINEL-1", processingLevel="SLC", **options)
    return sorted(product.properties["sceneName"] for product in found)


def password(archives: Sandbox) -> tuple[str, str]:
    words = Path(archives.environment["NETRC"]).read_text().split()
    return words[words.index("login") + 1], words[words.index("password") + 1]


class Stranger(requests.Session):
    """A client behind the proxy that looks into no netrc, not even where it is redirected to."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        """Show nothing at the next address."""
        prepared_request.headers.pop("Authorization", None)


# searching


def test_granules_are_found_as_the_index_has_them(inside: Sandbox, slc: SlcWorld) -> None:
    found = {
        p.properties["sceneName"]: p
        for p in search(dataset="SENTINEL-1", processingLevel="SLC", beamMode="IW")
    }
    assert found.keys() == {granule.name for granule in slc.granules}
    for granule in slc.granules:
        product = found[granule.name]
        said = product.properties
        assert said["fileID"] == f"{granule.name}-SLC"
        assert said["bytes"] == granule.size_bytes
        assert said["md5sum"] == granule.md5
        assert said["url"] == granule.url
        assert said["orbit"] == granule.absolute_orbit
        assert said["pathNumber"] == granule.relative_orbit
        assert said["frameNumber"] == granule.frame
        assert said["flightDirection"] == granule.direction.upper()
        assert said["polarization"] == "+".join(granule.polarisations).upper()
        assert said["startTime"] == granule.start.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert said["platform"].lower() == granule.platform
        assert shape(product.geometry).equals(shape(granule.geometry))
        middle = granule.start + timedelta(seconds=13.5)
        before = max((v for v in granule.state_vectors if v.time <= middle), key=lambda v: v.time)
        assert product.baseline["stateVectors"]["positions"]["prePosition"] == pytest.approx(
            before.position_m, abs=1e-6
        )
        assert product.is_valid_reference()


def test_bursts_are_found_as_the_index_has_them(inside: Sandbox, slc: SlcWorld) -> None:
    found = {p.properties["fileID"]: p for p in search(dataset="SLC-BURST")}
    assert found.keys() == {burst.id for burst in slc.bursts}
    for burst in slc.bursts:
        said = found[burst.id].properties
        assert said["url"] == burst.tiff_url
        assert said["additionalUrls"] == [burst.xml_url]
        assert said["bytes"] == str(burst.size_bytes)
        assert said["polarization"] == burst.polarisation.upper()
        assert said["burst"]["fullBurstID"] == burst.full_id
        assert said["burst"]["burstIndex"] == burst.index
        assert said["burst"]["subswath"] == burst.swath
        assert said["burst"]["samplesPerBurst"] == 30
        assert said["burst"]["azimuthTime"] == burst.start.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert found[burst.id].umm["InputGranules"] == [f"{burst.granule}-SLC"]


def test_a_burst_is_stacked_with_its_repeats(inside: Sandbox, slc: SlcWorld) -> None:
    reference = search(product_list=[slc.bursts[0].id])[0]
    stack = reference.stack()
    same = [b for b in slc.bursts if b.full_id == slc.bursts[0].full_id and b.polarisation == "vv"]
    assert sorted(p.properties["fileID"] for p in stack) == sorted(b.id for b in same)
    assert [p.properties["temporalBaseline"] for p in stack] == [0, 6, 12, 24]
    assert all(p.properties["perpendicularBaseline"] is not None for p in stack)


def test_filters_do_what_they_say(inside: Sandbox, slc: SlcWorld) -> None:
    def names(test: Any) -> list[str]:
        return sorted(granule.name for granule in slc.granules if test(granule))

    def meets(granule: Granule) -> bool:
        return bool(shape(granule.geometry).intersects(box(*AREA)))

    begin, end = datetime(2018, 8, 25, tzinfo=UTC), datetime(2018, 9, 6, tzinfo=UTC)
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"bbox": list(AREA)}, meets),
        ({"relativeOrbit": 68}, lambda g: g.relative_orbit == 68),
        ({"relativeOrbit": [(40, 50)]}, lambda g: g.relative_orbit == 46),
        ({"relativeOrbit": [46, 68], "bbox": list(AREA)}, meets),
        ({"absoluteOrbit": 23021}, lambda g: g.absolute_orbit == 23021),
        ({"start": begin, "end": end}, lambda g: begin <= g.start <= end),
        ({"start": end}, lambda g: g.start >= end),
        ({"polarization": "VV"}, lambda g: g.polarisations == ("vv",)),
        ({"polarization": "VV+VH"}, lambda g: g.polarisations == ("vv", "vh")),
        ({"platform": "S1B"}, lambda g: False),  # S1B is no name of a platform
        ({"platform": "Sentinel-1B"}, lambda g: g.platform == "sentinel-1b"),
        ({"beamMode": "EW"}, lambda g: False),
        ({"flightDirection": "ASCENDING"}, lambda g: g.direction == "ascending"),
        ({"frame": 450}, lambda g: True),
        ({"asfFrame": 451}, lambda g: False),
        ({"lookDirection": "L"}, lambda g: False),
        ({"season": (240, 245)}, lambda g: 240 <= g.start.timetuple().tm_yday <= 245),
        ({"groupID": "S1A_IWDV_0450_0455_023021_046"}, lambda g: g.absolute_orbit == 23021),
    ]
    for options, test in cases:
        assert slc_search(**options) == names(test), options
    # another kind of product over the same ground
    assert len(search(dataset="SENTINEL-1", processingLevel="GRD_HD")) == 0
    assert len(search(dataset="SENTINEL-1", processingLevel="RAW")) == 0


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
def test_outlines_are_asked_as_polygons_points_and_lines(inside: Sandbox, slc: SlcWorld) -> None:
    for text in (
        "POLYGON((142.1 42.3,142.3 42.31,142.3 42.4,142.1 42.4,142.1 42.3))",
        "POINT(142.5 42.5)",
        "LINESTRING(142.1 42.3,142.9 42.6)",
        "POLYGON((-19.9 42,-19.2 42,-19.2 43,-19.9 43,-19.9 42))",
    ):
        from shapely import from_wkt

        wanted = sorted(g.name for g in slc.granules if shape(g.geometry).intersects(from_wkt(text)))
        assert wanted
        assert slc_search(intersectsWith=text) == wanted


def test_names_and_patterns(inside: Sandbox, slc: SlcWorld) -> None:
    name = slc.granules[0].name
    assert [p.properties["sceneName"] for p in asf_search.granule_search([name])] == [name]
    assert len(asf_search.granule_search(["S1A_IW_SLC__1SDV_201809*"])) == 2
    assert len(asf_search.granule_search(["S1A_IW_SLC__1SDV_2018090*"])) == 1
    assert [p.properties["fileID"] for p in asf_search.product_search([f"{name}-SLC"])] == [f"{name}-SLC"]
    wanted = {b.id for b in slc.bursts if b.full_id == "046_098460_IW2" and b.polarisation == "vh"}
    assert {p.properties["fileID"] for p in search(fullBurstID="046_098460_IW2", polarization="VH")} == wanted
    assert asf_search.search_count(dataset="SLC-BURST") == len(slc.bursts)


@pytest.mark.parametrize("size", [1, 3, 6, 7])
def test_pages_follow_each_other(
    inside: Sandbox, slc: SlcWorld, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(INTERNAL, "CMR_PAGE_SIZE", size)
    monkeypatch.setattr("asf_search.CMR.translate.CMR_PAGE_SIZE", size)
    found = search(dataset="SLC-BURST")
    assert sorted(p.properties["fileID"] for p in found) == sorted(b.id for b in slc.bursts)
    assert len(inside.log) == -(-len(slc.bursts) // size)


def test_headers_count_and_lead_on(inside: Sandbox, slc: SlcWorld) -> None:
    asked = {"shortName": "SENTINEL-1_BURSTS", "page_size": 5, "sort_key[]": ["-end_date", "granule_ur"]}
    first = requests.post(GRANULES, data=asked, timeout=30)
    assert first.headers["CMR-Hits"] == str(len(slc.bursts)) == str(first.json()["hits"])
    assert len(first.json()["items"]) == 5
    after = {"CMR-Search-After": first.headers["CMR-Search-After"]}
    second = requests.post(GRANULES, data=asked, headers=after, timeout=30)
    assert {i["umm"]["GranuleUR"] for i in second.json()["items"]}.isdisjoint(
        i["umm"]["GranuleUR"] for i in first.json()["items"]
    )
    by_number = requests.get(GRANULES, params={**asked, "page_num": 2}, timeout=30)
    assert by_number.json()["items"] == second.json()["items"]
    beyond = requests.get(GRANULES, params={**asked, "page_num": 90}, timeout=30)
    assert beyond.json()["items"] == []
    assert "CMR-Search-After" not in beyond.headers


@pytest.mark.parametrize(
    "asked",
    [
        {"bounding_box": "1,2,3"},
        {"bounding_box": "1,9,3,8"},
        {"polygon": "0,0,0,1,1,1,0,0"},  # clockwise
        {"polygon": "0,0,1,0,1,1,0,1"},  # open
        {"point": "a,b"},
        {"temporal": "yesterday"},
        {"temporal": "2019-01-01T00:00:00Z,2018-01-01T00:00:00Z"},
        {"attribute[]": "string"},
        {"attribute[]": "word,BEAM_MODE,IW"},
        {"attribute[]": "int,PATH_NUMBER,many"},
        {"orbit_number": "x"},
        {"page_size": "2001"},
        {"sort_key[]": "-beauty"},
        {"colour": "blue"},
    ],
)
def test_nonsense_is_a_bad_request(inside: Sandbox, asked: dict[str, str]) -> None:
    answer = requests.post(GRANULES, data=asked, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["errors"]


def test_asf_search_reports_a_refusal_as_its_own_error(inside: Sandbox) -> None:
    with pytest.raises(ASFSearch4xxError, match="not recognized"):
        search(cmr_keywords=("colour", "blue"))
    assert requests.get(GRANULES, headers={"CMR-Search-After": "[1]x"}, timeout=30).status_code == 400


def test_the_search_can_misbehave(inside: Sandbox, slc: SlcWorld) -> None:
    inside.add_fault(Fault(action="status", status=503, host=SEARCH_HOST, times=2))
    assert len(slc_search()) == len(slc.granules)
    assert [entry.status for entry in inside.log] == [503, 503, 200]
    inside.add_fault(Fault(action="status", status=429, retry_after_s=9, host=SEARCH_HOST))
    answer = requests.post(GRANULES, timeout=30)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
    inside.add_fault(Fault(action="no_state_vectors", host=SEARCH_HOST))
    assert not any(p.has_baseline() for p in search(dataset="SLC-BURST"))
    inside.add_fault(Fault(action="wrong_md5", host=SEARCH_HOST))
    stated = {p.properties["md5sum"] for p in search(dataset="SENTINEL-1", processingLevel="SLC")}
    assert len(stated) == len(slc.granules)
    assert stated.isdisjoint(granule.md5 for granule in slc.granules)
    inside.add_fault(Fault(action="duplicate", host=SEARCH_HOST))
    twice = slc_search()
    assert (len(twice), len(set(twice))) == (len(slc.granules) + 1, len(slc.granules))
    inside.add_fault(Fault(action="incomplete", host=SEARCH_HOST))
    short = requests.post(GRANULES, data={"page_size": 100}, timeout=30).json()
    assert short["hits"] == len(short["items"]) + 1


def test_a_bad_token_spoils_a_search_that_needs_none(inside: Sandbox) -> None:
    good = {"Authorization": f"Bearer {inside.environment['EARTHDATA_TOKEN']}"}
    assert requests.post(GRANULES, headers=good, timeout=30).status_code == 200
    inside.add_fault(Fault(action="stale_login", host=SEARCH_HOST))
    assert "expired" in requests.post(GRANULES, headers=good, timeout=30).json()["errors"][0]
    bad = requests.post(GRANULES, headers={"Authorization": "Bearer nothing"}, timeout=30)
    assert bad.status_code == 401


def test_health_collections_and_reports(inside: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asf_search.health()["echo"] == {"ok?": True}
    assert "PATH_NUMBER" in asf_search.get_searchable_attributes(processingLevel="SLC")
    monkeypatch.setattr(asf_search, "REPORT_ERRORS", True)
    with pytest.raises(ASFSearch4xxError):
        search(cmr_keywords=("colour", "blue"))
    assert [entry.method for entry in inside.log if entry.host == REPORT_HOST] == ["POST"]


@pytest.mark.parametrize(
    "host", ["api.daac.asf.alaska.edu", "search.asf.alaska.edu", "uat.urs.earthdata.nasa.gov"]
)
def test_hosts_that_are_not_asked_stay_shut(inside: Sandbox, host: str) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        requests.get(f"https://{host}/", timeout=30)


def test_a_world_without_slc_answers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(empty_world(tmp_path)) as archives:
        enter(archives, monkeypatch)
        assert len(search(dataset="SENTINEL-1", processingLevel="SLC")) == 0
        assert len(search(dataset="SLC-BURST", bbox=list(AREA))) == 0
        scene = "S1A_IW_SLC__1SDV_20180824T204301_20180824T204328_023021_02CF68_A000"
        assert requests.get(f"https://{ORBIT_HOST}/scene/{scene}", timeout=30).status_code == 404
        answer = requests.get(f"https://{GRANULE_HOST}/SLC/SA/{scene}.zip", timeout=30)
        assert answer.status_code == 404
        assert archives.environment["EARTHDATA_TOKEN"] == ""


# logging in


def test_netrc_leads_through_the_redirects(inside: Sandbox, slc: SlcWorld) -> None:
    with requests.Session() as session:
        answer = session.get(slc.granules[0].url, timeout=30)
        assert answer.content == slc.file(slc.granules[0].url)
        assert answer.headers["content-length"] == str(slc.granules[0].size_bytes)
        assert [(r.status_code, r.url.split("/")[2]) for r in answer.history] == [
            (307, "datapool.asf.alaska.edu"),
            (302, GRANULE_HOST),
            (302, LOGIN_HOST),
            (301, GRANULE_HOST),
            (303, GRANULE_HOST),
        ]
        assert "asf-urs" in session.cookies
        inside.reset()
        session.get(slc.granules[1].url, timeout=30).raise_for_status()
        assert LOGIN_HOST not in {entry.host for entry in inside.log}  # the cookie is enough


def test_a_token_gets_granules(inside: Sandbox, slc: SlcWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", "/dev/null")
    session = asf_search.ASFSession().auth_with_token(inside.environment["EARTHDATA_TOKEN"])
    answer = session.get(slc.granules[0].url, timeout=30)
    assert answer.content == slc.file(slc.granules[0].url)
    assert "asf-urs" in session.cookies  # a plain file that is asked for with a token comes with the cookie


def test_a_token_alone_gets_no_burst(
    inside: Sandbox, slc: SlcWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", "/dev/null")
    session = asf_search.ASFSession().auth_with_token(inside.environment["EARTHDATA_TOKEN"])
    with pytest.raises(ASFAuthenticationError, match="401"):
        asf_search.download_url(slc.bursts[0].tiff_url, str(tmp_path), session=session)
    session.get(slc.granules[0].url, timeout=30).raise_for_status()
    asf_search.download_url(slc.bursts[0].tiff_url, str(tmp_path), session=session)
    assert (tmp_path / "0.tiff").read_bytes() == slc.file(slc.bursts[0].tiff_url)


def test_asf_search_logs_in_with_a_password_and_fetches(
    inside: Sandbox, slc: SlcWorld, tmp_path: Path
) -> None:
    session = asf_search.ASFSession().auth_with_creds(*password(inside))
    assert session.headers["Authorization"].startswith("Bearer ")
    burst = search(product_list=[slc.bursts[3].id])[0]
    burst.download(str(tmp_path), session=session, fileType=asf_search.FileDownloadType.ALL_FILES)
    assert (tmp_path / f"{slc.bursts[3].id}.tiff").read_bytes() == slc.file(slc.bursts[3].tiff_url)
    assert (tmp_path / f"{slc.bursts[3].id}.xml").read_bytes() == slc.file(slc.bursts[3].xml_url)
    user, _ = password(inside)
    with pytest.raises(ASFAuthenticationError):
        asf_search.ASFSession().auth_with_creds(user, "guess")
    with pytest.raises(ASFAuthenticationError):
        asf_search.ASFSession().auth_with_token("guess")


def test_an_expired_token_is_refused(inside: Sandbox, slc: SlcWorld) -> None:
    inside.add_fault(Fault(action="stale_token", host=LOGIN_HOST, path="/api/users/*"))
    user, word = password(inside)
    url = f"https://{LOGIN_HOST}/api/users/token"
    stale, fresh = (
        requests.post(url, auth=(user, word), timeout=30).json()["access_token"] for _ in range(2)
    )
    for token, status in ((stale, 401), (fresh, 200), (fresh[:-4] + "AAAA", 401)):
        with Stranger() as session:
            headers = {"Authorization": f"Bearer {token}"}
            first = session.get(
                slc.granules[0].url.replace("datapool", "sentinel1"),
                headers=headers,
                allow_redirects=False,
                timeout=30,
            )
            assert first.status_code == (303 if status == 200 else status)
        verified = requests.post(f"https://{LOGIN_HOST}/oauth/tokens/user", data={"token": token}, timeout=30)
        assert verified.status_code == (200 if status == 200 else 403)
    assert requests.post(url, auth=(user, "x"), timeout=30).status_code == 401


def test_terms_that_were_not_accepted(inside: Sandbox, slc: SlcWorld) -> None:
    inside.add_fault(Fault(action="no_eula", times=None))
    with Stranger() as session:
        headers = {"Authorization": f"Bearer {inside.environment['EARTHDATA_TOKEN']}"}
        url = slc.granules[0].url.replace("datapool", "sentinel1")
        answer = session.get(url, headers=headers, timeout=30)
        assert answer.status_code == 403
        assert answer.json()["resolution_url"].startswith(f"https://{LOGIN_HOST}/approve_app?client_id=")
    by_password = requests.get(slc.granules[0].url, timeout=30)
    assert by_password.status_code == 401
    assert "EULA" in by_password.text


def test_who_shows_nothing_is_asked_or_shown_a_page(inside: Sandbox, slc: SlcWorld) -> None:
    with Stranger() as session:
        asked = session.get(slc.bursts[0].tiff_url, timeout=30)
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        shown = session.get(slc.bursts[0].tiff_url, headers={"User-Agent": "Mozilla/5.0"}, timeout=30)
        assert (shown.status_code, shown.headers["content-type"].split(";")[0]) == (200, "text/html")


def test_the_login_sends_nobody_elsewhere(inside: Sandbox) -> None:
    for client, back in ((CLIENT_ID, "https://evil.example/login"), ("x", f"https://{GRANULE_HOST}/login")):
        query = {"client_id": client, "redirect_uri": back, "response_type": "code"}
        answer = requests.get(f"https://{LOGIN_HOST}/oauth/authorize", params=query, timeout=30)
        assert answer.status_code == 400
    for code in ("", "made-up"):
        answer = requests.get(
            f"https://{GRANULE_HOST}/login", params={"code": code, "state": "/x"}, timeout=30
        )
        assert answer.status_code == 400


@given(st.text(max_size=80), st.sampled_from(["token", "cookie"]))
def test_no_made_up_login_lets_in(text: str, kind: Any) -> None:
    login = Earthdata(ServerOptions())
    header = (
        base64.urlsafe_b64encode(json.dumps({"alg": "none", "origin": kind}).encode()).decode().rstrip("=")
    )
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 99}).encode()).decode().rstrip("=")
    for made_up in (text, f"{header}.{claims}.{text}", f"{header}.{text}.x"):
        assert login.check(made_up, kind, None).user is None
    assert login.check(login.issue(kind), kind, None).user == login.user
    assert login.check(login.issue("token"), "cookie", None).user is None


@pytest.mark.parametrize(
    ("login", "netrc", "token"),
    [
        ("password", True, False),
        ("token", False, True),
        ("both", True, True),
        ("none", False, False),
    ],
)
def test_the_environment_holds_what_was_asked_for(login: Any, netrc: bool, token: bool) -> None:
    account = Earthdata(ServerOptions(login=login))
    assert (account.password in account.netrc()) is netrc
    assert bool(account.environment_token()) is token
    assert account.password != Earthdata(ServerOptions()).password


def test_options_of_the_account_and_of_times(slc: SlcWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ServerOptions(
        login="token", token_brings_cookie=False, signed_url_lifetime_s=4, burst_wait_s=3600, burst_retry_after_s=2,
        granule_page_size=2,
    )  # fmt: skip
    with Sandbox(slc.world, options=options) as archives:
        enter(archives, monkeypatch)
        session = asf_search.ASFSession().auth_with_token(archives.environment["EARTHDATA_TOKEN"])
        answer = session.get(slc.granules[0].url, timeout=30)
        assert answer.status_code == 200
        assert "asf-urs" not in session.cookies
        while time.time() < int(answer.url.split("X-Amz-Date=")[1].split("&")[0]) + 4:
            time.sleep(0.05)
        late = requests.get(answer.url, timeout=30)
        assert late.status_code == 403
        assert "expired" in late.text
        assert len(requests.post(GRANULES, data={"page_size": 50}, timeout=30).json()["items"]) == 2


# fetching


def test_a_burst_is_being_cut_and_then_there(inside: Sandbox, slc: SlcWorld) -> None:
    burst = slc.bursts[-1]
    with requests.Session() as session:
        first = session.get(burst.tiff_url, timeout=30)
        assert first.status_code == 202
        assert LOGIN_HOST in {entry.host for entry in inside.log}
        for _ in range(200):
            answer = session.get(burst.tiff_url, timeout=30)
            if answer.status_code != 202:
                break
            time.sleep(0.02)
        assert answer.content == slc.file(burst.tiff_url)
        assert answer.history[-1].status_code == 307
        assert answer.headers["content-disposition"] == f"attachment; filename={burst.id}.tiff"
        inside.add_fault(Fault(action="status", status=202, retry_after_s=3, host=BURST_HOST, times=None))
        for _ in range(3):
            waiting = session.get(burst.tiff_url, timeout=30)
            assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "3")


def test_bursts_that_are_none_and_cookies_that_are_stale(inside: Sandbox, slc: SlcWorld) -> None:
    url = slc.bursts[0].tiff_url
    with requests.Session() as session:
        session.get(url, timeout=30).raise_for_status()
        assert session.get(url.replace("/0.tiff", "/9.tiff"), timeout=30).status_code == 404
        assert session.get(f"https://{BURST_HOST}/nonsense", timeout=30).status_code == 400
        inside.add_fault(Fault(action="stale_login", host=BURST_HOST))
        assert session.get(url, timeout=30).status_code == 403
        session.cookies.set("asf-urs", "forged", domain=".asf.alaska.edu", path="/")
    forged = requests.get(url, cookies={"asf-urs": "forged"}, allow_redirects=False, timeout=30)
    assert forged.status_code == 403


def test_a_login_can_hand_out_a_stale_cookie(inside: Sandbox, slc: SlcWorld) -> None:
    inside.add_fault(Fault(action="stale_token", host=LOGIN_HOST, path="/oauth/authorize"))
    with requests.Session() as session:
        assert session.get(slc.bursts[0].tiff_url, timeout=30).status_code == 403
        # where a token would do, a stale cookie leads to the login again, which brings a good one
        session.get(slc.granules[0].url, timeout=30).raise_for_status()
        assert session.get(slc.bursts[0].tiff_url, timeout=30).status_code in {200, 202}


def test_the_stores_want_a_signature_and_nothing_besides(inside: Sandbox, slc: SlcWorld) -> None:
    with requests.Session() as session:
        url = session.get(slc.granules[0].url, timeout=30).url
    assert requests.get(url.partition("?")[0], timeout=30).status_code == 403
    both = requests.get(url, headers={"Authorization": "Bearer x"}, timeout=30)
    assert both.status_code == 400
    assert "Only one auth mechanism" in both.text
    other = requests.get(url.replace(slc.granules[0].name, slc.granules[1].name), timeout=30)
    assert "SignatureDoesNotMatch" in other.text
    # an address that expires or is wrong from the start
    for action, code in (("stale_token", "has expired"), ("wrong_token", "SignatureDoesNotMatch")):
        inside.add_fault(Fault(action=action, host=GRANULE_HOST, path="/SLC/*", skip=1))  # type: ignore[arg-type]
        refused = requests.get(slc.granules[0].url, timeout=30)
        assert refused.status_code == 403
        assert code in refused.text
    # no file is given away by the host that its folder is named after
    assert requests.get(slc.bursts[0].xml_url, timeout=30, allow_redirects=False).status_code == 302


def test_ranges_go_on_with_the_same_file(inside: Sandbox, slc: SlcWorld) -> None:
    content = slc.file(slc.granules[0].url)
    with requests.Session() as session:
        whole = session.get(slc.granules[0].url, timeout=30)
        part = session.get(slc.granules[0].url, headers={"Range": "bytes=1000-"}, timeout=30)
        assert (part.status_code, part.content) == (206, content[1000:])
        assert part.headers["content-range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
        same = {"Range": "bytes=5-9", "If-Range": whole.headers["etag"]}
        assert session.get(slc.granules[0].url, headers=same, timeout=30).content == content[5:10]
        another = {"Range": "bytes=5-9", "If-Range": '"another"'}
        changed = session.get(slc.granules[0].url, headers=another, timeout=30)
        assert (changed.status_code, changed.content) == (200, content)
        past = session.get(slc.granules[0].url, headers={"Range": f"bytes={len(content)}-"}, timeout=30)
        assert past.status_code == 416


def test_bodies_can_be_cut_and_spoilt(inside: Sandbox, slc: SlcWorld) -> None:
    content = slc.file(slc.granules[0].url)
    inside.add_fault(
        Fault(action="cut", host=GRANULE_STORE, after_bytes=2000),
        Fault(action="corrupt", host=GRANULE_STORE, after_bytes=300),
        Fault(action="status", host=GRANULE_STORE, status=503, retry_after_s=1),
    )
    with requests.Session() as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="2000 bytes read"):
            session.get(slc.granules[0].url, timeout=30)
        spoilt = session.get(slc.granules[0].url, timeout=30).content
        assert [n for n, (a, b) in enumerate(zip(spoilt, content, strict=True)) if a != b] == [300]
        busy = session.get(slc.granules[0].url, timeout=30)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert "SlowDown" in busy.text
        assert session.get(slc.granules[0].url, timeout=30).content == content


def test_nothing_secret_is_in_the_log(inside: Sandbox, slc: SlcWorld) -> None:
    requests.get(slc.granules[0].url, timeout=30).raise_for_status()
    asf_search.ASFSession().auth_with_token(inside.environment["EARTHDATA_TOKEN"])
    text = "\n".join(entry.model_dump_json() for entry in inside.log)
    assert len(inside.log) == 7
    for secret in (*password(inside), inside.environment["EARTHDATA_TOKEN"], "X-Amz-Signature", "code="):
        assert secret not in text


# orbits


def test_the_best_orbit_is_led_to(inside: Sandbox, slc: SlcWorld) -> None:
    with Stranger() as session:
        for granule, orbit in zip(slc.granules, slc.orbits, strict=False):
            answer = session.get(f"https://{ORBIT_HOST}/scene/{granule.name}", timeout=30)
            assert (
                answer.url.rpartition("/")[2] == orbit.name
            )  # what the package s1-orbits names the file after
            assert answer.content == slc.file(f"https://{answer.url.split('/')[2]}/{orbit.key}")
        # precise where there is one (the first overflight has both), else restituted
        assert [orbit.kind for orbit in slc.orbits] == ["precise"] * 4 + ["restituted"] * 2
        assert session.get(f"https://{ORBIT_HOST}/scene/holiday", timeout=30).status_code == 400
        unknown = slc.granules[0].name.replace("201808", "201908")
        assert session.get(f"https://{ORBIT_HOST}/scene/{unknown}", timeout=30).status_code == 404
        other = slc.granules[0].name.replace("S1A", "S1B")
        assert session.get(f"https://{ORBIT_HOST}/scene/{other}", timeout=30).status_code == 404


def test_the_bucket_lists_its_keys(inside: Sandbox, slc: SlcWorld) -> None:
    names = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}

    def listed(query: dict[str, str]) -> tuple[list[str], str | None]:
        answer = requests.get("https://s1-orbits.s3.us-west-2.amazonaws.com/", params=query, timeout=30)
        root = etree.fromstring(answer.content)
        keys = [node.text for node in root.findall("s3:Contents/s3:Key", names)]
        following = root.findtext("s3:NextContinuationToken", namespaces=names)
        return keys, following or root.findtext("s3:NextMarker", namespaces=names)

    wanted = sorted(orbit.key for orbit in slc.orbits)
    assert listed({"list-type": "2"}) == (wanted, None)
    precise = [key for key in wanted if key.startswith("AUX_POEORB/S1A")]
    assert listed({"prefix": "AUX_POEORB/S1A"}) == (precise, None)
    for version, begin in (({"list-type": "2"}, "continuation-token"), ({}, "marker")):
        found: list[str] = []
        token: str | None = ""
        while token is not None:
            keys, token = listed({**version, "max-keys": "2", begin: token})
            found += keys
        assert found == wanted
    assert (
        requests.get("https://s1-orbits.s3.amazonaws.com/AUX_POEORB/none.EOF", timeout=30).status_code == 404
    )


# the index, and real answers


def test_an_unusable_index_is_named(tmp_path: Path) -> None:
    made = make_slc_world(tmp_path / "w", FLIGHTS[:1])
    index = tmp_path / "w" / "slc" / "index.json"
    good = json.loads(index.read_text())
    for spoilt, said in (
        ("{", "cannot be read"),
        (json.dumps({**good, "granules": []}), "granule"),
        (json.dumps({**good, "bursts": [{"id": 1}]}), "cannot be read"),
        (json.dumps({**good, "orbits": [{**good["orbits"][0], "file": "S1A_gone.EOF"}]}), "S1A_gone.EOF"),
    ):
        index.write_text(spoilt)
        with pytest.raises(SandboxError, match=said):
            Holdings.of((made.world.root,))


def recorded(shared_data: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load((shared_data / RESPONSES / name).read_text().replace("None", "null"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("name", "kind"), [("Fairbanks_SLC.yml", "granule"), ("SLC_BURST.yml", "burst")])
def test_items_have_the_shape_of_recorded_ones(
    shared_data: Path, slc: SlcWorld, name: str, kind: str
) -> None:
    real = recorded(shared_data, name)
    granule = slc.granules[0]
    made = granule_item(granule) if kind == "granule" else burst_item(slc.bursts[0], granule, (20, 30))
    assert made["umm"].keys() - {"MetadataSpecification"} == real["umm"].keys() - {"MetadataSpecification"}
    assert made["meta"].keys() - {"collection-concept-id"} == real["meta"].keys()
    attributes = [
        {a["Name"]: a["Values"] for a in item["umm"]["AdditionalAttributes"]} for item in (made, real)
    ]
    assert attributes[0].keys() == attributes[1].keys() - {"CENTER_ESA_FRAME"}  # a world knows no ESA frame
    product = asf_search.S1Product if kind == "granule" else asf_search.S1BurstProduct
    parsed, wanted = product(made), product({"meta": real["meta"], "umm": real["umm"]})
    assert parsed.properties.keys() == wanted.properties.keys()
    assert {key: type(value) for key, value in parsed.properties.items() if key != "burst"} == {
        key: type(value) for key, value in wanted.properties.items() if key != "burst"
    }
    if kind == "burst":
        assert {k: type(v) for k, v in parsed.properties["burst"].items()} == {
            k: type(v) for k, v in wanted.properties["burst"].items()
        }
    assert parsed.baseline.keys() == wanted.baseline.keys()


def test_numbers_of_bursts_and_nodes_are_as_recorded(shared_data: Path, slc: SlcWorld) -> None:
    real = asf_search.S1BurstProduct(
        {key: recorded(shared_data, "SLC_BURST.yml")[key] for key in ("meta", "umm")}
    )
    said = real.properties
    granule = slc.granules[0].model_copy(
        update={"absolute_orbit": said["orbit"], "relative_orbit": said["pathNumber"]}
    )
    burst = slc.bursts[0].model_copy(update={"full_id": said["burst"]["fullBurstID"]})
    made = asf_search.S1BurstProduct(burst_item(burst, granule))
    assert made.properties["burst"]["absoluteBurstID"] == said["burst"]["absoluteBurstID"]
    vectors = real.baseline["stateVectors"]
    vector = circle(granule.start, granule.start).model_copy(
        update={
            "time": datetime.fromisoformat(vectors["positions"]["prePositionTime"]),
            "position_m": tuple(vectors["positions"]["prePosition"]),
            "velocity_m_s": tuple(vectors["velocities"]["preVelocity"]),
        }
    )
    node = ascending_node((vector,))
    assert node is not None
    assert abs(node - datetime.fromisoformat(real.baseline["ascendingNodeTime"])) < timedelta(seconds=15)


@given(st.floats(1, 5900))
def test_the_node_is_found_from_anywhere_on_a_circle(after_s: float) -> None:
    node = datetime(2018, 9, 5, 20, 4, 52, tzinfo=UTC)
    found = ascending_node((circle(node, node + timedelta(seconds=after_s)),))
    assert found is not None
    assert abs(found - node) < timedelta(seconds=0.01)
