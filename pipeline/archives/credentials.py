"""Logins for NASA's Earthdata: where they are found, and which one a fetch mode needs. Nothing secret is shown."""

from __future__ import annotations

import netrc
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from pipeline.archives.archive import LoginNote
from pipeline.errors import SettingsError
from pipeline.settings import FetchMode

LOGIN_HOST = "urs.earthdata.nasa.gov"
ACCOUNT = f"https://{LOGIN_HOST}"
HOW = (
    f"Make an account at {ACCOUNT}, then put `machine {LOGIN_HOST} login <name> password <password>` into ~/.netrc "
    "(or the file that NETRC names)"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, or a user name and password; nothing secret is in its text."""

    token: SecretStr | None = None
    user: SecretStr | None = None
    password: SecretStr | None = None

    @property
    def has_password(self) -> bool:
        """Whether there are user name and password."""
        return self.user is not None and self.password is not None


def find_credentials() -> Credentials:
    """User name and password from netrc, and the token from EARTHDATA_TOKEN (environment, else `.env`).

    A netrc's `default` entry is not used: it names no host.

    Raises:
        SettingsError: the netrc cannot be read; what is in it is not shown.
    """
    token = os.environ.get("EARTHDATA_TOKEN") or dotenv_values(".env").get("EARTHDATA_TOKEN") or ""
    # an HTTP header allows no other characters; curly quotes may come with copied text
    if not re.fullmatch(r"[!-~]*", token.strip()):
        raise SettingsError(
            "EARTHDATA_TOKEN holds blanks or characters that no token has.",
            f"Copy it again from {ACCOUNT}/user_tokens.",
        )
    user, password = _from_netrc()
    return Credentials(
        token=SecretStr(token.strip()) if token.strip() else None,
        user=SecretStr(user) if user else None,
        password=SecretStr(password) if password else None,
    )


def _from_netrc() -> tuple[str, str]:
    named = os.environ.get("NETRC")
    paths = [Path(named)] if named else [Path("~/.netrc").expanduser(), Path("~/_netrc").expanduser()]
    for path in paths:
        try:
            entries = netrc.netrc(str(path)).hosts
        except FileNotFoundError:
            continue
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
            # not chained: the parser's message may quote what follows `password`
            raise SettingsError(
                f"{path} cannot be read ({type(error).__name__}).",
                "Each line: machine HOST login NAME password WORD.",
            ) from None
        if LOGIN_HOST in entries:
            user, _account, password = entries[LOGIN_HOST]
            return user or "", password or ""
    return "", ""


def login_note(mode: FetchMode, found: Credentials | None = None) -> LoginNote:
    """Which login a fetch mode needs and whether it is available, for the plan and `doctor`; nothing secret."""
    try:
        found = found or find_credentials()
    except SettingsError as error:
        return LoginNote(ok=False, text=str(error))
    needs = (
        "bursts need a cookie that Earthdata sets for user name and password"
        if mode == "bursts"
        else "granules need user name and password, or a token"
    )
    if found.has_password:
        return LoginNote(ok=True, text=f"{needs}: user name and password found in netrc")
    if found.token is None:
        return LoginNote(ok=False, text=f"{needs}: no login found. {HOW}, or set EARTHDATA_TOKEN.")
    if mode == "granules":
        return LoginNote(ok=True, text=f"{needs}: token found in EARTHDATA_TOKEN")
    return LoginNote(
        ok=True,
        text=f"{needs}: only a token found (EARTHDATA_TOKEN). A token gets the cookie by way of another file, where "
        f"ASF allows it; if it does not: {HOW}, or set SLIDECUBE_SLC_FETCH=granules.",
    )
