"""Logging in through an OpenID Connect provider, as the ``incus`` command does, with one cache of tokens for both.

The server says by its 401 which provider it trusts. The login is refreshed without the user where that is possible;
else the user confirms a code in a browser (RFC 8628).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..exceptions import IncusAuthenticationError, IncusConnectionError
from .config import write

Login = Callable[[str, str], object]
"""Shows the user a URL, and the code to confirm there; may be a coroutine."""

_SECONDS = 30  # for one answer of the provider


class OIDC:
    """The tokens of one server. ``file``: the command's cache of them; None keeps them in memory.

    ``login``: without it, a login that cannot be refreshed raises `IncusAuthenticationError`.
    """

    def __init__(self, file: Path | None, login: Login | None) -> None:
        self._file = file
        self._login = login
        self._lock = asyncio.Lock()
        self._tokens = self._cached()

    def authorization(self) -> str:
        """The value of that header; where there is no login yet, one that the server answers by saying how to do it."""
        return f"Bearer {self._tokens.get('access_token') or 'none'}"

    async def renew(self, headers: Mapping[str, str], used: str | None) -> bool:
        """Log in anew, after a 401 with these headers to the authorization ``used``; whether to ask once more.

        Raises `IncusAuthenticationError` where the user has to log in, or did not; `IncusConnectionError` where the
        provider cannot be used.
        """
        issuer, client = headers.get("X-Incus-OIDC-issuer"), headers.get("X-Incus-OIDC-clientid")
        if not issuer or not client:
            return False
        async with self._lock:
            for known in (self._tokens, self._cached()):  # another task may have done it, or another process
                self._tokens = known
                if self.authorization() != used:
                    return True
            provider = await _discover(issuer)
            fresh = await self._refreshed(issuer, client, provider)
            self._tokens = _kept(self._tokens, fresh or await self._asked(client, headers, provider))
            if self._file is not None:
                write(self._file, json.dumps(self._tokens), 0o600)
        return True

    async def _refreshed(self, issuer: str, client: str, provider: dict[str, Any]) -> dict[str, Any] | None:
        token = self._tokens.get("refresh_token")
        # A server that names another provider than before shall not get hold of this token by it.
        if not token or _issuer(self._tokens.get("access_token")) != issuer.rstrip("/"):
            return None
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client}
        answer = await _post(provider.get("token_endpoint"), form)
        return answer if isinstance(answer.get("access_token"), str) else None

    async def _asked(self, client: str, headers: Mapping[str, str], provider: dict[str, Any]) -> dict[str, Any]:
        if self._login is None:
            raise IncusAuthenticationError(
                "the server wants a login by OpenID Connect: give login=, which shows the user a URL and a code, or "
                "log in by a command of `incus` to this remote",
                status_code=401,
            )
        scopes = headers.get("X-Incus-OIDC-scopes") or "openid,offline_access,email"
        form = {"client_id": client, "scope": " ".join(scopes.replace(",", " ").split())}
        if audience := headers.get("X-Incus-OIDC-audience"):
            form["audience"] = audience
        device = await _post(provider.get("device_authorization_endpoint"), form)
        match device:
            case {"device_code": str(code), "user_code": str(shown_code), "verification_uri": str(url)}:
                shown = self._login(str(device.get("verification_uri_complete") or url), shown_code)
            case _:
                raise _denied("the provider offers no login by a code", device)
        if inspect.isawaitable(shown):
            await shown
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        form = {"grant_type": grant, "device_code": code, "client_id": client}
        interval = _seconds(device, "interval", 5)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_seconds(device, "expires_in", 600)):
                while True:
                    await asyncio.sleep(interval)
                    answer = await _post(provider.get("token_endpoint"), form)
                    match answer.get("error"):
                        case None if isinstance(answer.get("access_token"), str):
                            return answer
                        case "authorization_pending":
                            pass
                        case "slow_down":
                            interval += 5
                        case _:
                            raise _denied("the login was refused", answer)
        raise _denied("nobody confirmed the login in time", {})

    def _cached(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            tokens = json.loads(self._file.read_bytes())
        except (OSError, ValueError):  # none yet, or what a login will replace
            return {}
        return tokens if isinstance(tokens, dict) else {}


async def _discover(issuer: str) -> dict[str, Any]:
    provider = await _ask(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if str(provider.get("issuer")).rstrip("/") != issuer.rstrip("/"):
        raise IncusConnectionError(f"{issuer} is not the OpenID Connect provider that the server means")
    return provider


async def _post(url: Any, form: dict[str, str]) -> dict[str, Any]:
    return await _ask(str(url), urllib.parse.urlencode(form).encode())


async def _ask(url: str, form: bytes | None = None) -> dict[str, Any]:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        raise IncusConnectionError(f"{url!r} is no address of an OpenID Connect provider: it must be https://")

    def ask() -> Any:
        try:
            with urllib.request.urlopen(url, form, timeout=_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return json.load(refusal)

    try:
        answer = await asyncio.to_thread(ask)
    except (OSError, ValueError) as error:
        raise IncusConnectionError(f"the OpenID Connect provider {url} cannot be used: {error}") from None
    return answer if isinstance(answer, dict) else {}


def _kept(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The cache with new tokens, in the command's form."""
    named = {"access_token": new["access_token"], "token_type": new.get("token_type", "Bearer")}
    end = datetime.now(UTC) + timedelta(seconds=_seconds(new, "expires_in", 0))
    named["expiry"] = end.isoformat().replace("+00:00", "Z")
    if "refresh_token" in new:
        named["refresh_token"] = new["refresh_token"]
    if "id_token" in new:
        named["IDToken"] = new["id_token"]
    return {**old, **named}


def _seconds(answer: Mapping[str, Any], key: str, default: float) -> float:
    value = answer.get(key)
    return value if isinstance(value, int | float) else default


def _issuer(token: str | None) -> str | None:
    """Who made a token, by its own words."""
    try:
        claims = (token or "").split(".")[1]
        issuer = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return str(issuer).rstrip("/")


def _denied(what: str, answer: Mapping[str, Any]) -> IncusAuthenticationError:
    reason = answer.get("error_description") or answer.get("error")
    return IncusAuthenticationError(f"{what}: {reason}" if reason else what, status_code=401)
