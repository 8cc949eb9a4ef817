"""Logging in through an OpenID Connect provider like the ``incus`` command, with one cache of tokens for both.

The server's 401 says which provider it trusts. The login is refreshed without the user where possible; otherwise the
user confirms a code in a browser (RFC 8628).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import inspect
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..exceptions import IncusAuthenticationError, IncusConnectionError, IncusInputError
from . import limits
from .config import write
from .tracing import RETRIES

Login = Callable[[str, str], object]
"""Shows the user a URL, and the code to confirm there; can be a coroutine function."""

_ANSWER_SECONDS = 30
_LONGEST = 10 * 365 * 86400
"""Seconds; a provider's longer time is as good as no end, and no date can hold some of them."""


class OIDC:
    """The login at one server; ``file`` is the command's cache of its tokens, ``login`` shows the user a code."""

    def __init__(self, file: Path | None, login: Login | None) -> None:
        self._file = file
        self._login = login
        self._lock = asyncio.Lock()
        self._tokens = self._read_cache()

    def authorization(self) -> str:
        """The value of that header; before the first login, one that makes the server say how to log in."""
        return f"Bearer {self._tokens.get('access_token') or 'none'}"

    async def renew(self, headers: Mapping[str, str], used: str | None) -> bool:
        """Log in after a 401 with these headers to the authorization ``used``; whether to ask again.

        Raises `IncusAuthenticationError` where the user has to log in, or did not; `IncusConnectionError` where the
        provider cannot be used.
        """
        issuer, client_id = headers.get("X-Incus-OIDC-issuer"), headers.get("X-Incus-OIDC-clientid")
        if not issuer or not client_id:
            return False
        async with self._lock:
            for known in (self._tokens, self._read_cache()):  # another task or process may have logged in
                self._tokens = known
                if self.authorization() != used:
                    return True
            provider = await _discover(issuer)
            tokens = await self._refresh(issuer, client_id, provider)
            if tokens is None:
                tokens = await self._log_in(client_id, headers, provider)
            self._tokens = _merge_tokens(self._tokens, tokens)
            if self._file is not None:
                try:
                    write(self._file, json.dumps(self._tokens), 0o600)
                except IncusInputError as error:  # of a home that is read-only; the command does without, too
                    RETRIES.warning("the login is good for this client alone: %s", error)
        return True

    async def _refresh(self, issuer: str, client_id: str, provider: dict[str, Any]) -> dict[str, Any] | None:
        token = self._tokens.get("refresh_token")
        # A server that names another provider than before must not get this token.
        if not token or _issuer_of(self._tokens.get("access_token")) != issuer.rstrip("/"):
            return None
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
        answer = await _post(provider.get("token_endpoint"), form)
        return answer if isinstance(answer.get("access_token"), str) else None

    async def _log_in(self, client_id: str, headers: Mapping[str, str], provider: dict[str, Any]) -> dict[str, Any]:
        """Have the user confirm a code, and return the tokens."""
        if self._login is None:
            raise IncusAuthenticationError(
                "the server wants a login by OpenID Connect: give login=, which shows the user a URL and a code, or "
                "log in by a command of `incus` to this remote",
                status_code=401,
            )
        scopes = headers.get("X-Incus-OIDC-scopes") or "openid,offline_access,email"
        form = {"client_id": client_id, "scope": " ".join(scopes.replace(",", " ").split())}
        if audience := headers.get("X-Incus-OIDC-audience"):
            form["audience"] = audience
        device = await _post(provider.get("device_authorization_endpoint"), form)
        match device:
            case {"device_code": str(device_code), "user_code": str(user_code), "verification_uri": str(url)}:
                url = str(device.get("verification_uri_complete") or url)
            case _:
                raise _login_error("the provider does not offer a login by code", device)
        # They are printed, or opened in a browser.
        if not url.startswith(("https://", "http://")) or not (url + user_code).isprintable():
            raise _login_error(f"the provider wants {user_code!r} to be confirmed at {url!r}, which is not a page", {})
        shown = self._login(url, user_code)
        if inspect.isawaitable(shown):
            await shown
        return await _wait_for_confirmation(client_id, device_code, device, provider)

    def _read_cache(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            tokens = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):  # there is none yet, or a login will replace it
            return {}
        return tokens if isinstance(tokens, dict) else {}


async def _wait_for_confirmation(
    client_id: str, device_code: str, device: dict[str, Any], provider: dict[str, Any]
) -> dict[str, Any]:
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    form = {"grant_type": grant, "device_code": device_code, "client_id": client_id}
    interval = max(_read_seconds(device, "interval", 5, most=60), 1)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_read_seconds(device, "expires_in", 600)):
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
                        raise _login_error("the login was refused", answer, device_code)
    raise _login_error("nobody confirmed the login in time", {})


async def _discover(issuer: str) -> dict[str, Any]:
    provider = await _fetch_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if str(provider.get("issuer")).rstrip("/") != issuer.rstrip("/"):
        raise IncusConnectionError(f"{issuer} is not the OpenID Connect provider that the server names")
    return provider


async def _post(url: Any, form: dict[str, str]) -> dict[str, Any]:
    return await _fetch_json(str(url), urllib.parse.urlencode(form).encode())


async def _fetch_json(url: str, form: bytes | None = None) -> dict[str, Any]:
    try:
        answer = await asyncio.to_thread(_fetch, url, form)
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        reason = str(error)
    else:
        return answer if isinstance(answer, dict) else {}
    # Raised here, where no other error knows the form.
    raise IncusConnectionError(f"the OpenID Connect provider {url!r} cannot be used: {reason}")


def _fetch(url: str, form: bytes | None) -> Any:
    # What is sent to this machine is for no proxy; None: the usual ones.
    own_proxies: dict[str, str] | None = {} if _is_local(url) else None
    opener = urllib.request.build_opener(_SafeRedirects, urllib.request.ProxyHandler(own_proxies))
    try:
        answer = opener.open(_checked(url), form, timeout=_ANSWER_SECONDS)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    end, body = time.monotonic() + _ANSWER_SECONDS, bytearray()
    with answer:
        while piece := answer.read1(limits.CHUNK):
            body += piece
            if len(body) > limits.REFUSAL or time.monotonic() > end:
                raise ValueError(f"it sent more than {limits.REFUSAL} bytes, or took longer than {_ANSWER_SECONDS} s")
    return json.loads(body)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a provider only where it could have been itself."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Called by urllib."""
        if _is_local(newurl) and not _is_local(req.full_url):
            raise ValueError(f"it leads to {newurl!r}")
        return super().redirect_request(req, fp, code, msg, headers, _checked(newurl))


def _checked(url: str) -> str:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme != "https" and not (scheme == "http" and _is_local(url)):
        raise ValueError(f"{url!r} must be https://")
    return url


def _is_local(url: str) -> bool:
    return urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _merge_tokens(cached: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The cache with new tokens, in the command's form."""
    tokens = {"access_token": new["access_token"], "token_type": new.get("token_type", "Bearer")}
    end = datetime.now(UTC) + timedelta(seconds=_read_seconds(new, "expires_in", 0))
    tokens["expiry"] = end.isoformat().replace("+00:00", "Z")
    if "refresh_token" in new:
        tokens["refresh_token"] = new["refresh_token"]
    if "id_token" in new:
        tokens["IDToken"] = new["id_token"]
    return {**cached, **tokens}


def _read_seconds(answer: Mapping[str, Any], key: str, default: float, most: float = _LONGEST) -> float:
    value = answer.get(key)
    return min(max(value, 0), most) if isinstance(value, int | float) and value == value else default


def _issuer_of(token: Any) -> str | None:
    """The issuer that a token names, unverified."""
    try:
        claims = token.split(".")[1]
        issuer = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return str(issuer).rstrip("/")


def _login_error(failure: str, answer: Mapping[str, Any], secret: str = "") -> IncusAuthenticationError:
    reason = str(answer.get("error_description") or answer.get("error") or "")
    if len(secret) > 4:  # no provider's is shorter
        reason = reason.replace(secret, "...")
    return IncusAuthenticationError(f"{failure}: {reason}" if reason else failure, status_code=401)
