"""Profiles: records and request bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from .base import Config, Record

if TYPE_CHECKING:
    from .devices import Devices


class Profile(Record):
    """Configuration and devices that instances share."""

    config: dict[str, str]
    description: str
    devices: dict[str, dict[str, str]]
    name: str
    project: str
    used_by: list[str]
    """URLs of the instances that apply it; a profile in use cannot be deleted."""


class ProfilePut(TypedDict, total=False):
    """Replaces a profile's configuration; it takes effect in every instance that applies it."""

    config: Config
    description: str
    devices: Devices


class ProfilesPost(ProfilePut, total=False):
    """Creates a profile."""

    name: str
