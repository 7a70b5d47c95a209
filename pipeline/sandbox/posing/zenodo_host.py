"""Zenodo's host: records and their files, as its REST API gives them.

Protocol: developers.zenodo.org ("Records", "Files", "Rate limiting"). The ETag of a file is its MD5, a file is served
in ranges, and every answer states the guest's limits, as recorded answers in public threads show (galaxyproject/galaxy
#15296).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from pipeline.catalogue.item_fields import FILE_HEADER
from pipeline.sandbox.deposits import Deposit, DepositedFile, deposits_of
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.file_answers import is_simulated, locate, send_file

ZENODO_HOST = "zenodo.org"
REQUESTS_PER_MINUTE = 60
"""of a guest"""


class ZenodoHost:
    """The records of worlds."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = roots
        self.records: dict[int, Deposit] = {}
        self._simulated: dict[int, bool] = {}
        for root in roots:
            for deposit in deposits_of(root):
                self.records.setdefault(deposit.number, deposit)
                self._simulated.setdefault(deposit.number, is_simulated(root))

    async def answer(self, request: Request, fault: Fault | None) -> Response:
        """A record, a file of one, or a redirect from the older addresses."""
        response = self._answer(request, fault)
        response.headers["x-ratelimit-limit"] = str(REQUESTS_PER_MINUTE)
        response.headers["x-ratelimit-remaining"] = str(REQUESTS_PER_MINUTE - 1)
        response.headers["x-ratelimit-reset"] = str(int(time.time()) + 60)
        return response

    def _answer(self, request: Request, fault: Fault | None) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return _refusal(405, "The method is not allowed for the requested URL.")
        match request.url.path.strip("/").split("/"):
            case ["api", "records", number] if (deposit := self._record(number)) is not None:
                response = JSONResponse(
                    _document(deposit, wrong=fault is not None and fault.action == "wrong_md5")
                )
                if self._simulated[deposit.number]:
                    response.headers[FILE_HEADER.lower()] = "true"
                return response
            case ["api", "records", number, "files", key, "content"] | ["records", number, "files", key]:
                return self._file(request, number, unquote(key))
            case ["record", *rest]:
                return RedirectResponse(f"https://{ZENODO_HOST}/records/{'/'.join(rest)}", 301)
        if (path := locate(self._roots, ZENODO_HOST, request.url.path)) is not None:
            return send_file(request, path)  # such as an inventory of the world
        return _refusal(404, "The persistent identifier does not exist.")

    def _file(self, request: Request, number: str, key: str) -> Response:
        deposit = self._record(number)
        for file in deposit.files if deposit is not None else ():
            if file.path.name == key:
                response = send_file(request, file.path, f'"md5:{file.md5}"')
                response.headers["content-disposition"] = f"attachment; filename={key}"
                return response
        return _refusal(404, "The requested file does not exist.")

    def _record(self, number: str) -> Deposit | None:
        return self.records.get(int(number)) if number.isascii() and number.isdigit() else None


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"status": status, "message": message}, status)


def _document(deposit: Deposit, *, wrong: bool) -> dict[str, Any]:
    """A record in the form of the API; with `wrong` its checksums are those of other files."""
    doi = f"10.5281/zenodo.{deposit.number}"
    api = f"https://{ZENODO_HOST}/api/records/{deposit.number}"
    return {
        "id": deposit.number,
        "recid": str(deposit.number),
        "doi": doi,
        "doi_url": f"https://doi.org/{doi}",
        "title": deposit.metadata.get("title", ""),
        "metadata": {**deposit.metadata, "doi": doi},
        "links": {"self": api, "self_html": f"https://{ZENODO_HOST}/records/{deposit.number}"},
        "files": [_entry(file, api, wrong) for file in deposit.files],
        "status": "published",
        "state": "done",
        "submitted": True,
    }


def _entry(file: DepositedFile, api: str, wrong: bool) -> dict[str, Any]:
    name = file.path.name
    md5 = file.md5[::-1] if wrong else file.md5
    return {
        "id": file.md5,
        "key": name,
        "size": file.size_bytes,
        "checksum": f"md5:{md5}",
        "links": {"self": f"{api}/files/{quote(name)}/content"},
    }
