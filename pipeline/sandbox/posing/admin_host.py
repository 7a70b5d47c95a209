"""The host by which another process steers the sandbox: its log, its faults, its clock."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.sandbox.posing.faults import Fault, Ledger
from pipeline.sandbox.publication.sandbox_clock import ClockOrder, SandboxClock

ADMIN_HOST = "sandbox.slidecube.example"


async def answer_admin(request: Request, ledger: Ledger, clock: SandboxClock) -> Response:
    """GET /log, POST /faults (one rule or a list), POST /reset, GET /clock, POST /clock (a `ClockOrder`)."""
    try:
        match request.method, request.url.path:
            case "GET", "/log":
                log: list[dict[str, Any]] = [entry.model_dump(mode="json") for entry in ledger.log]
                return JSONResponse({"bytes_sent": ledger.bytes_sent, "requests": log})
            case "POST", "/faults":
                rules = TypeAdapter(Fault | list[Fault]).validate_json(await request.body())
                for rule in rules if isinstance(rules, list) else [rules]:
                    ledger.add_fault(rule)
                return Response(status_code=204)
            case "POST", "/reset":
                ledger.reset()
                return Response(status_code=204)
            case "GET", "/clock":
                return JSONResponse(clock.state.model_dump(mode="json"))
            case "POST", "/clock":
                order = ClockOrder.model_validate_json(await request.body())
                return JSONResponse(clock.change(order).model_dump(mode="json"))
    except ValidationError as error:
        return JSONResponse(
            {"errors": error.errors(include_url=False, include_input=False, include_context=False)}, 400
        )
    return JSONResponse({"message": "GET /log, POST /faults, POST /reset, GET /clock, POST /clock"}, 404)
