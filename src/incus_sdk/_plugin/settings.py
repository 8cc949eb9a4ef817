"""What the command line and the configuration of pytest say of Incus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    import pytest

Scope = Literal["function", "class", "module", "package", "session"]

SCOPES: tuple[Scope, ...] = ("function", "class", "module", "package", "session")
"""From short to long."""


def setting(config: pytest.Config, name: str) -> str:
    """What the command line says, or else the configuration file."""
    return str(config.getoption(name) or config.getini(name))


def box_scope(fixture_name: str, config: pytest.Config) -> Scope:
    """How long an instance is shared."""
    return cast(Scope, setting(config, "incus_box_scope"))


def server_scope(fixture_name: str, config: pytest.Config) -> Scope:
    """How long a server is shared: at least as long as an instance in it. A real daemon takes a second to start."""
    usual: Scope = "session" if fixture_name.endswith("_daemon") else "function"
    given = cast(Scope, setting(config, "incus_scope") or usual)
    return SCOPES[max(map(SCOPES.index, (given, box_scope(fixture_name, config))))]
