"""Devices on each version of Incus: what there is of them, and how they are added, changed, overridden and removed."""

from __future__ import annotations

import typing
from collections import defaultdict

from incus_sdk import Client, models

TYPED = {device for device in typing.get_args(models.Device) if typing.is_typeddict(device)}
KEYS: dict[str, frozenset[str]] = {
    type: device.__optional_keys__ - {"type"}
    for device in TYPED
    for type in typing.get_args(typing.get_type_hints(device)["type"])
}
"""Those that editors complete, by the type of device."""
UNDOCUMENTED = {"nic": {"nictype"}, "gpu": {"gputype"}}  # they are in the names of the groups


async def test_the_typed_devices_have_the_keys_that_the_server_documents(client: Client) -> None:
    documented: dict[str, set[str]] = defaultdict(set)
    groups = (await client.server.get_configuration_metadata()).configs["devices"]
    for name, group in groups.items():
        types = ["unix-char", "unix-block"] if name == "unix-char-block" else [name.partition("_")[0]]
        for type in types:
            documented[type] |= {key for keys in group["keys"] for key in keys if not key.endswith("*")}
    assert not [(type, keys - KEYS[type]) for type, keys in documented.items() if keys - KEYS[type]]
    if "7.0" in (await client.get_server_info()).environment.server_version:
        assert {type: keys | UNDOCUMENTED.get(type, set()) for type, keys in documented.items()} == {
            type: set(keys) for type, keys in KEYS.items() if type != "none"
        }
