"""Downloads: resumed, checked, one at a time, and renamed only when they are whole."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import threading
from collections import namedtuple
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from pipeline.archives.asf import Asf
from pipeline.archives.earthdata import Credentials, Earthdata
from pipeline.archives.http import bodies, downloads
from pipeline.archives.http.downloads import Wanted, download
from pipeline.errors import ArchiveError, DiskError, SourceDataError
from pipeline.progress import Progress, no_progress
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, raw_body, standing_for_all_hosts

DATA = bytes(range(256)) * 20_000  # 5 MB, several chunks
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
NAME = "datapool.asf.alaska.edu/SLC/a.zip"
URL = f"https://{NAME}"
ARCHIVE = Asf(Earthdata(Credentials()))


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=2):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback({NAME: DATA}) as loopback, standing_for_all_hosts(loopback):
        yield loopback


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched" / "a.zip"


def whole(target: Path) -> Wanted:
    return Wanted(URL, target, len(DATA), MD5)


def fetch(wanted: Wanted, progress: Progress = no_progress) -> Path:
    return download(wanted, ARCHIVE, progress)


def left_over(target: Path) -> set[str]:
    return {p.name for p in target.parent.iterdir()} - {target.name, ".locks"}


def ranges(server: Loopback) -> list[str | None]:
    return [seen.headers.get("range") for seen in server.seen]


def test_a_file_comes_whole_with_its_progress(server: Loopback, target: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []

    def note(name: str, at: int, total: int | None = None, _remark: str = "", /) -> None:
        steps.append((name, at, total))

    assert fetch(whole(target), note) == target
    assert target.read_bytes() == DATA
    assert left_over(target) == set()
    assert steps[-1] == ("a.zip", len(DATA), len(DATA))
    assert [s[1] for s in steps] == sorted(s[1] for s in steps)


def test_a_right_file_is_not_fetched_again_and_a_wrong_one_is(server: Loopback, target: Path) -> None:
    fetch(whole(target))
    asked = len(server.seen)
    fetch(whole(target))
    assert len(server.seen) == asked
    damaged = bytearray(DATA)
    damaged[1000] ^= 1
    target.write_bytes(damaged)
    fetch(whole(target))
    assert target.read_bytes() == DATA


def test_a_cut_stream_goes_on_where_it_ended(server: Loopback, target: Path) -> None:
    server.fail(1, Reply(200, {"ETag": '"one"'}, DATA[:3_000_000], len(DATA)))
    fetch(whole(target))
    assert target.read_bytes() == DATA
    assert ranges(server)[0] is None
    gone_on_at = int((ranges(server)[1] or "").removeprefix("bytes=").removesuffix("-"))
    assert 3_000_000 - bodies.CHUNK_BYTES < gone_on_at <= 3_000_000
    assert server.seen[1].headers["if-range"] == '"one"'


def test_another_process_goes_on_where_one_was_killed(server: Loopback, target: Path) -> None:
    class KillError(BaseException):
        pass

    def kill(_name: str, at: int, _total: int | None = None, _remark: str = "", /) -> None:
        if at > 2_000_000:
            raise KillError

    with pytest.raises(KillError):
        fetch(whole(target), kill)
    assert not target.exists()
    fetch(whole(target))
    assert target.read_bytes() == DATA
    assert (ranges(server)[1] or "").startswith("bytes=")
    assert left_over(target) == set()


def test_a_file_killed_before_its_name_is_not_fetched_again(server: Loopback, target: Path) -> None:
    def kill(_name: str, at: int, total: int | None = None, _remark: str = "", /) -> None:
        if at == total:
            raise KeyboardInterrupt

    wanted = Wanted(URL, target, md5=MD5)
    with pytest.raises(KeyboardInterrupt):
        fetch(wanted, kill)
    fetch(wanted)
    assert target.read_bytes() == DATA
    assert len(server.seen) == 1


def test_a_file_that_was_replaced_is_not_glued_to_the_old_one(server: Loopback, target: Path) -> None:
    def kill(_name: str, at: int, _total: int | None = None, _remark: str = "", /) -> None:
        if at > 2_000_000:
            raise KeyboardInterrupt

    server.files[NAME], server.etags[NAME] = bytes(len(DATA)), '"old"'
    with pytest.raises(KeyboardInterrupt):
        fetch(whole(target), kill)
    server.files[NAME], server.etags[NAME] = DATA, '"new"'
    fetch(whole(target))
    assert target.read_bytes() == DATA
    assert len(server.seen) == 2


def test_a_server_that_ignores_if_range_is_caught_by_its_tag(server: Loopback, target: Path) -> None:
    server.fail(1, Reply(200, {"ETag": '"one"'}, DATA[:1_000_000], len(DATA)))

    def other(seen: Seen) -> Reply | None:
        if "range" not in seen.headers:
            return None
        begin = int(seen.headers["range"].removeprefix("bytes=").removesuffix("-"))
        body = bytes(len(DATA) - begin)
        span = f"bytes {begin}-{len(DATA) - 1}/{len(DATA)}"
        return Reply(206, {"ETag": '"two"', "Content-Range": span}, body)

    server.rules.append(other)
    fetch(whole(target))
    assert target.read_bytes() == DATA


def test_without_a_tag_it_begins_anew(server: Loopback, target: Path) -> None:
    server.fail(1, Reply(200, {}, DATA[:1_000_000], len(DATA)))
    fetch(whole(target))
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, None]


def test_a_wrong_sum_is_an_error_after_a_second_try(server: Loopback, target: Path) -> None:
    wanted = Wanted(URL, target, len(DATA), "0" * 32)
    with pytest.raises(SourceDataError, match="MD5") as wrong:
        fetch(wanted)
    assert MD5 in wrong.value.message
    assert len(server.seen) == 2
    assert not target.exists()
    assert left_over(target) == set()


def test_what_was_damaged_once_on_the_way_is_fetched_once_more(server: Loopback, target: Path) -> None:
    server.fail(1, Reply(200, {"ETag": '"one"'}, bytes(len(DATA))))
    fetch(whole(target))
    assert target.read_bytes() == DATA


def test_another_size_than_stated_is_refused_before_it_is_read(server: Loopback, target: Path) -> None:
    with pytest.raises(ArchiveError, match=rf"a\.zip has {len(DATA)} bytes"):
        fetch(Wanted(URL, target, len(DATA) + 1))
    assert not target.exists()


def test_a_check_decides_where_no_sum_is_stated(server: Loopback, target: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == DATA
        raise SourceDataError("not this one")

    with pytest.raises(SourceDataError, match="not this one"):
        fetch(Wanted(URL, target, check=refuse))
    assert not target.exists()
    with pytest.raises(ValueError, match="nothing to check"):
        fetch(Wanted(URL, target))


def test_202_means_wait(server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    server.fail(2, Reply(202, {"Retry-After": "7"}))
    server.fail(1, Reply(202))
    fetch(whole(target))
    assert target.read_bytes() == DATA
    assert waits[:2] == [7.0, 7.0]
    assert len(waits) == 3


def test_the_wait_is_bounded(server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads.time, "sleep", lambda _s: None)
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(downloads.time, "monotonic", lambda: float(next(clock)))
    server.fail(1000, Reply(202, {"Retry-After": "86400"}))
    with pytest.raises(ArchiveError, match=r"a\.zip") as late:
        fetch(whole(target))
    assert not late.value.transient
    assert len(server.seen) < 40


def test_a_missing_file_is_told_and_leaves_nothing(server: Loopback, target: Path) -> None:
    with pytest.raises(ArchiveError, match="404"):
        fetch(Wanted(URL + "x", target, 10))
    assert not target.exists()
    assert left_over(target) == set()


def test_tries_end_where_nothing_comes(server: Loopback, target: Path) -> None:
    server.fail(100, Reply(503))
    with pytest.raises(ArchiveError, match="503"):
        fetch(whole(target))
    assert len(server.seen) == 3


def test_many_cuts_are_survived_while_bytes_come(server: Loopback, target: Path) -> None:
    def piecewise(seen: Seen) -> Reply:
        begin = int(seen.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {begin}-{len(DATA) - 1}/{len(DATA)}"
        headers = {"ETag": '"one"'} | ({"Content-Range": span} if begin else {})
        return Reply(206 if begin else 200, headers, DATA[begin : begin + 600_000], len(DATA) - begin)

    server.rules.append(piecewise)
    fetch(whole(target))
    assert target.read_bytes() == DATA
    assert len(server.seen) > 6  # more than the retries would allow without any bytes


def test_a_disk_without_room_is_refused_before_the_first_byte(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _p: usage(10**9, 10**9, 10**6))
    with pytest.raises(DiskError, match="no room") as full:
        fetch(whole(target))
    assert "SLIDECUBE_DATA_DIR" in full.value.remedy
    assert not target.exists()


def test_a_disk_that_fills_up_is_told(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_name: str, _at: int, _total: int | None = None, _remark: str = "", /) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError) as told:
        fetch(whole(target), full)
    assert told.value.full and str(target) in told.value.message
    assert not target.exists()


def test_a_disk_that_refuses_the_last_step_is_told(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (errno.ENOSPC, errno.EIO):

        def fails(_descriptor: int, code: int = code) -> None:
            raise OSError(code, "the disk says no")

        monkeypatch.setattr(downloads.os, "fsync", fails)
        with pytest.raises(DiskError) as told:
            fetch(whole(target))
        assert told.value.number == code and str(target.parent) in told.value.message
        assert not target.exists()


class Answering:
    """An archive that answers every request with the file and the same headers."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers

    def open(
        self,
        href: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        public: bool = False,
    ) -> requests.Response:
        answer = requests.Response()
        answer.url, answer.status_code, answer.raw = href, self.status, raw_body(DATA)
        answer.headers.update(self.headers)
        return answer


@pytest.mark.parametrize("header", ["\xb2", "9" * 5000], ids=["no digit", "too many digits"])
def test_an_odd_content_length_is_no_length(target: Path, header: str) -> None:
    assert download(whole(target), Answering(200, {"Content-Length": header})).read_bytes() == DATA
    target.unlink()
    with pytest.raises(ArchiveError, match=r"a\.zip") as refused:
        download(whole(target), Answering(206, {"Content-Range": f"bytes 0-9/{header}"}))
    assert refused.value.transient
    assert not target.exists()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"Content-Encoding": "gzip"}, b"x"),
        Reply(206, {"Content-Range": "bytes 5-9/10"}, b"12345"),
        Reply(200, {}, b"x", 2**40),
    ],
    ids=["packed", "another range", "endless"],
)
def test_what_cannot_be_the_file_is_refused(server: Loopback, target: Path, reply: Reply) -> None:
    server.fail(1000, reply)
    with pytest.raises(ArchiveError):
        fetch(Wanted(URL, target, md5=MD5))
    assert not target.exists()


def test_two_threads_at_once_fetch_once(server: Loopback, target: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(whole(target),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == DATA
    assert len(server.seen) == 1


def _in_another_process(target: Path, port: int) -> None:
    server = Loopback.__new__(Loopback)
    server.url = lambda path: f"http://127.0.0.1:{port}/{path}"  # type: ignore[method-assign]
    with brisk_settings(retries=2), standing_for_all_hosts(server):
        fetch(whole(target))


def test_two_processes_at_once_do_no_harm(server: Loopback, target: Path) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would take the threads of other tests along
    port = int(server.url("").rsplit(":", 1)[1].strip("/"))
    workers = [context.Process(target=_in_another_process, args=(target, port)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert target.read_bytes() == DATA
    assert left_over(target) == set()
    assert len(server.seen) == 1


@pytest.mark.parametrize("length", [None, len(DATA)], ids=["stated", "unstated"])
def test_more_than_a_file_of_its_kind_has_is_not_fetched(
    server: Loopback, target: Path, length: int | None
) -> None:
    if length is None:
        server.rules.append(lambda seen: Reply(200, {"ETag": '"one"', "Transfer-Encoding": "identity"}, DATA))
    with pytest.raises(ArchiveError, match=r"a\.zip|bytes"):
        fetch(Wanted(URL, target, md5=MD5, most_bytes=len(DATA) - 1))
    assert not target.exists()
