"""Joining a server: from a trust token to a remote of the ``incus`` command's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .. import models
from ..exceptions import IncusConnectionError, IncusInputError, IncusPermissionError, IncusTimeoutError
from . import wire
from .config import ClientConfig, Remote
from .connecting import FINGERPRINT, make_transport
from .endpoint import Endpoint
from .scope import Scope


async def join(
    token: str,
    name: str | None,
    *,
    endpoint: str | None,
    project: str | None,
    timeout: float | None,
    password: str | None,
) -> Scope:
    """Have this client trusted, write the server as a remote, and return the connection to it; see `Client.join`."""
    invitation = _read_invitation(token)
    if endpoint is not None and (not isinstance(endpoint, str) or Endpoint.parse(endpoint).socket is not None):
        raise IncusInputError(f"endpoint must be the server's https:// address, not {endpoint!r}")
    config = ClientConfig()
    if name is not None:
        config.check_new_name(name)
    addresses = [f"https://{address}" for address in invitation.addresses] if endpoint is None else [endpoint]
    remote = replace(config.new_remote(name or ""), addresses=tuple(addresses), server_cert=None)
    config.check_add(replace(remote, project=project))  # before the token is used up
    transport = make_transport(remote, server_cert=invitation.fingerprint, timeout=timeout, password=password)
    try:
        scope = Scope(transport).view(project=project)
        await scope.server()
        # Only the address that works: older versions of the command read no more than one.
        remote = replace(remote, addresses=(str(transport.endpoint),))
        # A certificate that an authority vouches for may be renewed, so it is not pinned.
        vouched = await _is_vouched_for(remote, timeout, password)  # which can fail, so before the token is used up
        server = await _become_trusted(scope, token)
        remote = replace(remote, project=project or await _only_project(scope))
        environment = server.get("environment")
        config.add(
            remote,
            by_name=environment.get("server_name") if isinstance(environment, Mapping) else None,
            server_cert=None if vouched else transport.pinned_certificate,
        )
    except BaseException:
        await transport.close()
        raise
    return scope.view(project=remote.project)


def _read_invitation(token: str) -> models.CertificateAddToken:
    invitation = models.CertificateAddToken(wire.read_token(token))
    if not re.fullmatch(FINGERPRINT, invitation.fingerprint.replace(":", "")):
        raise IncusInputError("this trust token was changed: the fingerprint in it is none; copy it again")
    if (end := invitation.expires_at) is not None and end < datetime.now(UTC):
        raise IncusInputError(f"this trust token expired at {end:%Y-%m-%d %H:%M:%S} UTC: ask for a new one")
    return invitation


async def _become_trusted(scope: Scope, token: str) -> Mapping[str, Any]:
    """Use the token, unless the server trusts this client already; return what the server then says of itself."""
    server = await scope.server()
    if server.get("auth") != "trusted":
        unbroken = "".join(token.split())  # which servers do not take otherwise
        try:
            await scope.request("POST", wire.path("certificates"), body={"trust_token": unbroken, "type": "client"})
        except IncusPermissionError as error:
            raise IncusPermissionError(
                f"POST /1.0/certificates: {error.response.get('error')}: the token was used already, was withdrawn or "
                "has expired: ask for a new one",
                status_code=error.status_code,
                response=error.response,
            ) from None
        server = await scope.server(fresh=True)
    return server


async def _only_project(scope: Scope) -> str | None:
    """The project that the client is restricted to; None for several, or for the default one."""
    allowed = (await scope.request("GET", wire.path("projects"))).strings
    only = wire.names(allowed[0])[-1] if len(allowed) == 1 else "default"
    return None if only == "default" else only


async def _is_vouched_for(remote: Remote, timeout: float | None, password: str | None) -> bool:
    transport = make_transport(remote, timeout=timeout, password=password)
    try:
        await Scope(transport).server()
    except (IncusConnectionError, IncusTimeoutError):
        return False
    finally:
        await transport.close()
    return True
