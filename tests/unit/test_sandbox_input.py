"""What a sandbox cannot be is refused before anything is sent."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from incus_sdk import Client, IncusInputError
from incus_sdk.sandbox import Box, Limits, Network, Pool, connect, list_boxes, prune
from incus_sdk.sandbox._languages import command_for

NOWHERE = "unix:///nowhere"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"cpu": 0}, "cpu must be a number of processors"),
        ({"cpu": True}, "cpu must be"),
        ({"cpu": "1"}, "cpu must be"),
        ({"cpu": float("nan")}, "cpu must be"),
        ({"memory": "1KiB"}, "memory must be 4 MiB or more"),
        ({"memory": "much"}, "memory must be"),
        ({"memory": "-1GiB"}, "memory must be"),
        ({"memory": 10.5}, "memory must be"),
        ({"memory": "8192PiB"}, "memory must be 4 MiB or more, and less than 8 EiB"),
        ({"memory": 2**63}, "memory must be"),
        ({"processes": 1}, "processes must be a number, 2 or more"),
        ({"processes": 2.5}, "processes must be"),
        ({"disk": 0}, "disk must be 4 MiB or more"),
        ({"disk": "5 GiB"}, "disk must be"),
        ({"unenforced": "ignore"}, "unenforced must be 'refuse' or 'accept'"),
    ],
)
def test_limits_that_are_none_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(IncusInputError, match=message):
        Limits(**limits)


def test_a_limit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="swap"):
        Limits(swap=1)  # type: ignore[call-arg]


def test_limits_are_written_as_servers_take_them() -> None:
    written = Limits(cpu=0.25, memory=2**26, processes=None)._config()
    assert written["limits.cpu.allowance"] == "25ms/100ms"
    assert (written["limits.memory"], written["limits.memory.swap"]) == ("67108864", "false")
    assert "limits.processes" not in written
    assert Limits(disk=None)._disk("p") == {"type": "disk", "path": "/", "pool": "p"}


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        ("203.0.113.10:443", "allow must be a list"),
        ([443], "allow takes IPv4 addresses"),
        (["example.org:443"], "allow takes IPv4 addresses"),
        (["203.0.113.300"], "allow takes"),
        (["203.0.113.10:0"], "allow takes"),
        (["203.0.113.10:99999"], "allow takes"),
        (["203.0.113.10:20-10"], "allow takes"),
        (["203.0.113.10:53/icmp"], "allow takes"),
        (["2001:db8::1"], "allow takes"),
    ],
)
def test_addresses_that_are_none_are_refused(allow: Any, message: str) -> None:
    with pytest.raises(IncusInputError, match=message):
        Network("sandbox0", allow=allow)
    with pytest.raises(IncusInputError, match="bridge must be the name"):
        Network("")


def test_addresses_are_written_as_servers_take_them() -> None:
    network = Network("b", ["203.0.113.10", "203.0.113.0/24:8000-8010", "203.0.113.53:53/udp"])
    rule = {"action": "allow", "state": "enabled"}
    assert network._rules() == [
        {**rule, "destination": "203.0.113.10/32"},
        {**rule, "destination": "203.0.113.0/24", "protocol": "tcp", "destination_port": "8000-8010"},
        {**rule, "destination": "203.0.113.53/32", "protocol": "udp", "destination_port": "53"},
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": ""}, "image must be the name of one"),
        ({"size": -1}, "size must be a number"),
        ({"size": True}, "size must be a number"),
        ({"ttl": 0}, "ttl must be a number of seconds"),
        ({"template_ttl": "1h"}, "template_ttl must be a number of seconds"),
        ({"name": "Agents"}, "name must have"),
        ({"name": "a" * 41}, "name must have"),
        ({"labels": {"a b": "c"}}, "the label 'a b' must be a name"),
        ({"labels": {"a": ""}}, "the label 'a'"),
        ({"labels": "ab"}, "labels must be a dict"),
        ({"labels": [1]}, "labels must be a dict"),
        ({"languages": "python"}, "languages must be a list"),
        ({"languages": None}, "languages must be a list"),
        ({"languages": [{}]}, "language must be one of"),
        ({"prepare": "apt-get install git"}, "prepare must be a function"),
        ({"prepare_network": ""}, "prepare_network must be a name"),
        ({"storage": 3}, "storage must be a name"),
        (
            {"languages": ["cobol"]},
            r"language must be one of bash, .*, sh, not 'cobol'",
        ),
        ({"limits": {"cpu": 1}}, r"limits must be Limits\(...\)"),
        ({"network": "sandbox0"}, r"network must be Network\(...\)"),
    ],
)
def test_pools_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"image": "busybox", **arguments}
    with pytest.raises(IncusInputError, match=message):
        Pool(Client(NOWHERE), **options)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("bash", 'echo "$@"'),
        ("node", "console.log(process.argv.slice(1).join(' '))"),
        ("node", "-1; console.log(process.argv.slice(1).join(' '))"),
        ("perl", 'print "@ARGV\n"'),
        ("python", "import sys; print(*sys.argv[1:])"),
        ("ruby", 'puts ARGV.join(" ")'),
        ("sh", 'echo "$@"'),
    ],
)
def test_code_gets_its_arguments_also_those_that_look_like_options(language: str, code: str) -> None:
    command, _ = command_for(language, code)
    if shutil.which(command[0]) is None:
        pytest.skip(f"this machine has no {command[0]}")
    done = subprocess.run([*command, "-v", "--help", "-"], capture_output=True, text=True, check=True)
    assert done.stdout == "-v --help -\n"


@pytest.mark.parametrize("language", ["bash", "sh"])
def test_code_that_looks_like_an_option_is_code(language: str) -> None:
    command, _ = command_for(language, "-v 2>/dev/null || echo none")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "none\n"


@pytest.mark.parametrize("timeout", ["5", True, -1, float("nan")])
async def test_a_lease_that_waits_for_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(IncusInputError, match="timeout must be a number of seconds"):
        async with Pool(Client(NOWHERE), "busybox").lease(timeout=timeout):
            pass


async def test_what_a_box_cannot_do_is_refused_before_anything_is_sent() -> None:
    client = Client(NOWHERE)
    box = Box(client, client.instances["c1"])
    wrong: Any = "sandbox0"
    for call, message in (
        (box.set_network(wrong), r"network must be Network\(...\)"),
        (box.write("/root/x", "\udc80"), "cannot be written as UTF-8"),
        (box.run_code("sh", "\udc80"), "cannot be written as UTF-8"),
        (box.read("/root/x", limit=wrong), "limit must be a number of bytes"),
        (box.read("/root/x", limit=-1), "limit must be a number of bytes"),
        (box.pull("/root/x", "x", limit=wrong), "limit must be a number of bytes"),
        (box.pull("/root/x", "x", limit=-1), "limit must be a number of bytes"),
    ):
        with pytest.raises(IncusInputError, match=message):
            await call


async def test_what_cannot_be_looked_for_is_refused() -> None:
    client = Client(NOWHERE)
    for call in (list_boxes(client, labels={"": "x"}), prune(client, labels={"a": ""}), connect(client, "")):
        with pytest.raises(IncusInputError):
            await call
    with pytest.raises(IncusInputError, match="the pool 'p' is not open"):
        async with Pool(client, "busybox", name="p").lease():
            pass
