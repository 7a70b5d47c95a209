"""Shared access signatures: issued by the signing endpoint, required by the blob hosts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

BLOB_DOMAIN = ".blob.core.windows.net"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Signer:
    """Issues and checks tokens; the secret exists as long as the object.

    `lifetime_s` is a token's lifetime. With `subscription_key` only requests with this key receive a token.
    """

    def __init__(self, lifetime_s: float = 2700.0, subscription_key: str | None = None) -> None:
        self.lifetime_s = lifetime_s
        self.subscription_key = subscription_key
        self._secret = secrets.token_bytes(32)

    def token(self, account: str, container: str, flaw: str | None = None) -> tuple[str, datetime]:
        """A token for a container and its expiry; `flaw`: wrong_token or stale_token."""
        now = datetime.now(UTC)
        expiry = now + timedelta(seconds=-1.0 if flaw == "stale_token" else self.lifetime_s)
        start, end = (now - timedelta(days=1)).strftime(_TIME), expiry.strftime(_TIME)
        signature = self._signature(account, container, start, end)
        if flaw == "wrong_token":
            signature = base64.b64encode(secrets.token_bytes(32)).decode()
        fields = {"st": start, "se": end, "sp": "rl", "sv": "2024-05-04", "sr": "c", "sig": signature}
        text = "&".join(f"{key}={quote(value, safe='')}" for key, value in fields.items())
        return text, datetime.strptime(end, _TIME).replace(tzinfo=UTC)

    def refusal(self, host: str, container: str, query: str) -> str | None:
        """Why a blob request is refused; None if its token is valid."""
        fields = {key: values[0] for key, values in parse_qs(query).items()}
        if not {"st", "se", "sig"} <= fields.keys():
            return "The request carries no signature."
        account = host.removesuffix(BLOB_DOMAIN)
        expected = self._signature(account, container, fields["st"], fields["se"])
        if not hmac.compare_digest(expected.encode(), fields["sig"].encode()):
            return "Signature did not match."
        try:
            start, end = (datetime.strptime(fields[key], _TIME).replace(tzinfo=UTC) for key in ("st", "se"))
        except ValueError:
            return "Signed times are malformed."
        now = datetime.now(UTC)
        if not start <= now < end:
            return (
                f"Signature not valid in the specified time frame: Start [{start:{_TIME}}] - "
                f"Expiry [{end:{_TIME}}] - Current [{now:{_TIME}}]"
            )
        return None

    def _signature(self, account: str, container: str, start: str, end: str) -> str:
        text = "\n".join((account, container, start, end)).encode()
        return base64.b64encode(hmac.new(self._secret, text, hashlib.sha256).digest()).decode()

    def answer(self, request: Request, account: str, container: str, flaw: str | None) -> Response:
        """Respond to `GET /api/sas/v1/token/{account}/{container}`."""
        shown = request.headers.get("ocp-apim-subscription-key", "")
        if self.subscription_key is not None and not hmac.compare_digest(
            shown.encode(), self.subscription_key.encode()
        ):
            message = "Access denied due to missing subscription key."
            return JSONResponse({"statusCode": 401, "message": message}, 401)
        token, expiry = self.token(account, container, flaw)
        return JSONResponse({"msft:expiry": expiry.strftime(_TIME), "token": token})
