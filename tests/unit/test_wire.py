"""The wire format: no name reaches another object than its own, and no answer is taken for another than it is."""

from __future__ import annotations

import base64
import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import (
    IncusAPIError,
    IncusAuthenticationError,
    IncusConflictError,
    IncusConnectionError,
    IncusError,
    IncusInputError,
    IncusNotFoundError,
    IncusPermissionError,
    IncusPreconditionError,
)
from incus_sdk._connection import wire
from incus_sdk.models import Profile

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
SYNC: dict[str, Any] = {"type": "sync", "status": "Success", "status_code": 200, "metadata": {"name": "c1"}}

anything = st.text(st.characters(exclude_categories=()))
"""Any str that Python can hold, lone surrogates included."""

hostile = st.sampled_from(
    ["..", "/", "%", "%2F", "%2e%2e", "?", "#", "&", "=", "\0", "\n", "\\", ":", "//", "é", "\ud800"]
)


def decode(status: int, body: Any, headers: Mapping[str, str] = JSON) -> wire.Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.decode(status, headers, content, "GET /1.0/x")


@given(anything | st.lists(hostile | anything).map("".join))
def test_any_str_is_refused_or_goes_out_and_back_as_one_segment_that_is_exactly_itself(name: str) -> None:
    try:
        path = wire.path("instances", name, "state")
    except IncusInputError:
        assert name in ("", ".", "..") or any("\ud800" <= character <= "\udfff" for character in name)
        return
    assert wire.names(path) == ["instances", name, "state"]
    assert path.count("/") == 4
    assert wire.require_quoted(path) == path
    assert wire.names(wire.target(path, {"project": "p"})) == ["instances", name, "state"]


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800", "a\udcffb"])
def test_a_name_that_would_address_something_else_is_refused(name: str) -> None:
    with pytest.raises(IncusInputError, match="is not a name"):
        wire.path("instances", name)


@pytest.mark.parametrize("name", [None, 5, b"c1", ["c1"], object()])
def test_a_name_that_is_no_str_is_refused(name: Any) -> None:
    with pytest.raises(IncusInputError, match="must be a str"):
        wire.path("instances", name)


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("ubuntu/22.04", "ubuntu%2F22.04"),
        ("c1?project=other", "c1%3Fproject%3Dother"),
        ("../x", "..%2Fx"),
        ("a b+c%d#e", "a%20b%2Bc%25d%23e"),
        ("é;~:", "%C3%A9%3B~%3A"),
    ],
)
def test_a_name_is_quoted_whole(name: str, quoted: str) -> None:
    assert wire.path("images", "aliases", name) == f"/1.0/images/aliases/{quoted}"


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("/1.0/instances/c1", ["instances", "c1"]),
        ("/1.0/instances/c1?project=dev", ["instances", "c1"]),
        ("/1.0/instances/c1?project=dev&target=n1#key", ["instances", "c1"]),
        ("https://host:8443/1.0/images/aliases/a%2Fb", ["images", "aliases", "a/b"]),
        ("/1.0/profiles/a%253Fb", ["profiles", "a%3Fb"]),
    ],
)
def test_names_are_read_from_the_urls_that_servers_send(url: str, names: list[str]) -> None:
    assert wire.names(url) == names


def test_a_parameter_is_read_from_the_urls_that_servers_send() -> None:
    url = wire.target("/1.0/instances/c1", {"project": "a b&c", "target": ""})
    assert wire.parameter(url, "project") == "a b&c"
    assert wire.parameter(url, "pro") is None


def test_a_query_leaves_none_out_and_writes_booleans_as_the_server_reads_them() -> None:
    query = {"project": None, "recursion": 0, "all-projects": True, "public": False, "filter": ""}
    assert wire.target("/1.0/x", query) == "/1.0/x?recursion=0&all-projects=true&public=false&filter="
    assert wire.target("/1.0/x", {"project": None}) == wire.target("/1.0/x") == "/1.0/x"
    assert wire.target("/1.0/x?a=1", {"b": "2"}) == "/1.0/x?a=1&b=2"


@given(st.dictionaries(anything.filter(bool), anything, max_size=3))
def test_any_query_is_refused_or_arrives_as_itself_and_nothing_more(query: dict[str, str]) -> None:
    try:
        target = wire.target("/1.0/x", query)
    except IncusInputError:
        assert any("\ud800" <= character <= "\udfff" for text in [*query, *query.values()] for character in text)
        return
    arrived = [pair.split("=") for pair in urlsplit(target).query.split("&") if pair]
    sent = [[text.encode(errors="surrogateescape") for text in pair] for pair in query.items()]
    assert [[unquote_to_bytes(text.replace("+", " ")) for text in pair] for pair in arrived] == sent


def test_a_file_name_that_is_no_utf_8_arrives_byte_for_byte() -> None:
    assert wire.target("/1.0/x", {"path": b"/srv/\xff".decode(errors="surrogateescape")}) == "/1.0/x?path=%2Fsrv%2F%FF"


@pytest.mark.parametrize(
    "path", ["/1.0", "/1.0/instances?recursion=1&filter=a%20eq%20b", "/1.0/images/aliases/a%2Fb", "/internal/ready"]
)
def test_a_path_whose_names_are_quoted_is_taken_as_it_is(path: str) -> None:
    assert wire.require_quoted(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "1.0",
        "http://host/1.0",
        "/1.0/a b",
        "/1.0/é",
        "/1.0/a\nb",
        "/1.0/a\r\nHost: x",
        "/1.0/a#b",
        "/1.0/a\0",
        None,
    ],
)
def test_a_path_that_could_not_be_sent_as_it_is_is_refused(path: Any) -> None:
    with pytest.raises(IncusInputError, match="path must"):
        wire.require_quoted(path)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"a": None, "b": [], "c": {}, "d": "é", "e": 2**63}, {"a": None, "b": [], "c": {}, "d": "é", "e": 2**63}),
        (Profile({"name": "p", "new": {"x": [1]}}), {"name": "p", "new": {"x": [1]}}),
        (MappingProxyType({"a": (1, 2), "b": OrderedDict(c=range(2))}), {"a": [1, 2], "b": {"c": [0, 1]}}),
    ],
)
def test_a_body_is_sent_as_the_json_it_stands_for(body: Any, sent: Any) -> None:
    assert json.loads(wire.encode(body)) == sent


def test_a_time_is_sent_with_its_zone() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert datetime.fromisoformat(json.loads(wire.encode({"at": time}))["at"]) == time


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    "body",
    [{"a": {1}}, {"a": object()}, {"a": b"x"}, {"a": float("nan")}, {("a",): 1}, {"a": "\ud800"}, _endless(), _deep()],
)
def test_a_body_that_has_no_json_form_is_refused(body: Any) -> None:
    with pytest.raises(IncusInputError, match="cannot be written as JSON"):
        wire.encode(body)


@pytest.mark.parametrize("type", ["sync", "async"])
def test_an_envelope_gives_its_metadata(type: str) -> None:
    answer = decode(202, {**SYNC, "type": type}, {**JSON, "ETag": "abc"})
    assert (answer.type, answer.status, answer.metadata, answer.etag) == (type, 202, {"name": "c1"}, "abc")


@pytest.mark.parametrize("metadata", [None, [], {}, "", 0, ["/1.0/instances/c1"]])
def test_metadata_may_be_anything(metadata: Any) -> None:
    assert decode(200, {"type": "sync", "metadata": metadata}).metadata == metadata


def test_the_content_type_may_have_parameters_and_any_case() -> None:
    assert decode(200, SYNC, {"Content-Type": "Application/JSON; charset=utf-8"}).metadata == {"name": "c1"}


@pytest.mark.parametrize("type", ["application/octet-stream", "multipart/form-data; boundary=x", "text/plain"])
def test_an_answer_that_is_no_json_is_its_bytes(type: str) -> None:
    answer = decode(200, b'{"type": "error"}', {"Content-Type": type})
    assert (answer.type, answer.metadata) == ("raw", b'{"type": "error"}')


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, IncusAPIError),
        (401, IncusAuthenticationError),
        (403, IncusPermissionError),
        (404, IncusNotFoundError),
        (409, IncusConflictError),
        (412, IncusPreconditionError),
        (500, IncusAPIError),
        (501, IncusAPIError),
        (503, IncusAPIError),
    ],
)
@pytest.mark.parametrize("under", ["its own status", "200"])
def test_an_error_is_one_under_any_http_status(code: int, kind: type[IncusAPIError], under: str) -> None:
    body = {"type": "error", "error": "Not\nso", "error_code": code, "metadata": None}
    with pytest.raises(IncusAPIError) as caught:
        decode(200 if under == "200" else code, body)
    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.response) == (code, body)
    assert str(caught.value).startswith("GET /1.0/x: Not so")


@pytest.mark.parametrize(
    "reason",
    [
        "Profile is currently in use",
        "The storage volume is still in use",
        "Volume is still in use by running instances",
        "Cannot delete an ACL that is in use",
    ],
)
@pytest.mark.parametrize("code", [400, 500])
def test_what_is_in_use_is_a_conflict(code: int, reason: str) -> None:
    with pytest.raises(IncusConflictError, match=reason):
        decode(code, {"type": "error", "error": reason, "error_code": code, "metadata": None})


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Certificate is restricted", IncusPermissionError),
        ('User does not have permissions for project "default"', IncusPermissionError),
        ('Failed to load network restrictions from project "x": Project not found', IncusNotFoundError),
        ("Storage pool not found", IncusNotFoundError),
    ],
)
@pytest.mark.parametrize("code", [400, 500])
def test_what_is_forbidden_or_missing_is_so_under_any_status(code: int, reason: str, kind: type[IncusAPIError]) -> None:
    with pytest.raises(kind, match=reason):
        decode(code, {"type": "error", "error": reason, "error_code": code, "metadata": None})


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (403, "Forbidden", "get_server_info"),
        (404, "Instance not found", "another project"),
        (404, 'Fetch project "p": Project not found', r"projects\.list"),
        (404, "Network not found", "not found$"),
    ],
)
def test_a_refusal_names_the_remedy_where_its_words_do_not(code: int, reason: str, remedy: str) -> None:
    with pytest.raises(IncusAPIError, match=remedy):
        decode(code, {"type": "error", "error": reason, "error_code": code, "metadata": None})


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, {"type": "error"}, 500),
        (200, {"type": "error", "error_code": 0, "error": ""}, 500),
        (404, {"type": "error", "error_code": 0}, 404),
        (404, {"type": "error", "error_code": "404"}, 404),
        (400, {"type": "error", "error_code": [404], "error": ["x"]}, 400),
        (400, {"type": "error", "error_code": None, "error": None}, 400),
    ],
)
def test_an_error_that_is_not_filled_in_is_an_error_all_the_same(status: int, body: Any, code: int) -> None:
    with pytest.raises(IncusAPIError) as caught:
        decode(status, body)
    assert caught.value.status_code == code


@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize("type", ["sync", "async"])
def test_an_http_error_is_one_whatever_the_envelope_says(status: int, type: str) -> None:
    with pytest.raises(IncusAPIError) as caught:
        decode(status, {"type": type, "metadata": {}})
    assert caught.value.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        json.dumps(SYNC).encode()[:-1],
        b"<html>",
        b"\xff\xfe",
        b'{"type": "sync", "metadata": "\xff"}',
        b"[" * 100_000,
        b'{"type": "sync", "metadata": ' + b"1" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_json_that_is_cut_off_or_none_is_an_error_of_the_connection(body: bytes, status: int) -> None:
    with pytest.raises(IncusConnectionError, match=r"GET /1\.0/x: .*cut off or not JSON"):
        decode(status, body)


@pytest.mark.parametrize(
    "body", [{}, [], None, 1, "sync", {"type": "sync"}, {"type": "other", "metadata": {}}, {"error": "x"}]
)
def test_json_without_an_envelope_is_no_answer_of_incus(body: Any) -> None:
    with pytest.raises(IncusConnectionError, match="not an Incus server"):
        decode(200, body)


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308])
def test_a_web_page_or_a_redirect_is_no_answer_of_incus(status: int) -> None:
    with pytest.raises(IncusConnectionError, match="not an Incus server"):
        decode(status, b"<html><h1>Welcome</h1></html>", HTML)


@pytest.mark.parametrize("headers", [HTML, {"Content-Type": "text/plain"}, {}])
@pytest.mark.parametrize("status", [401, 403, 404, 407, 502, 503, 504])
def test_an_error_of_something_between_says_what_it_is_and_is_not_taken_for_one_of_incus(
    status: int, headers: dict[str, str]
) -> None:
    page = b"<html>\r\n<head><title>Bad\xffGateway</title></head>\r\n" + b"x" * 10_000
    with pytest.raises(IncusAPIError, match=rf"^GET /1\.0/x: HTTP {status}, .*proxy.*Gateway") as caught:
        decode(status, page, headers)
    # Nobody may take it that Incus said there is no such object.
    assert type(caught.value) is IncusAPIError
    assert (caught.value.status_code, caught.value.response) == (status, {})
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["sync", "async", "error"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["type", "metadata", "error", "error_code", "status_code"]), inner)
    ),
)


@given(
    status=st.integers(200, 599),
    headers=st.sampled_from([JSON, HTML, {}, {"Content-Type": "application/octet-stream"}]),
    body=st.binary() | answers,
)
def test_any_answer_is_a_value_or_an_error_of_the_sdk(status: int, headers: dict[str, str], body: Any) -> None:
    try:
        answer = decode(status, body, headers)
    except IncusError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert status < 400
    assert answer.type == "raw" or answer.body["type"] == answer.type


RFC_7396: list[tuple[str, str, str]] = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]
"""The examples of the RFC's appendix A."""


@pytest.mark.parametrize(("document", "patch", "result"), RFC_7396)
def test_merging_is_as_the_rfc_has_it_and_changes_neither_side(document: str, patch: str, result: str) -> None:
    before, change = json.loads(document), json.loads(patch)
    assert wire.merge_patch(before, change) == json.loads(result)
    assert (before, change) == (json.loads(document), json.loads(patch))


def test_configuration_is_sent_as_strings_and_none_stays_none() -> None:
    config = {"a": "x", "b": True, "c": False, "d": 2, "e": 2**70, "f": "", "g": None, "h": -1}
    sent = {"a": "x", "b": "true", "c": "false", "d": "2", "e": str(2**70), "f": "", "g": None, "h": "-1"}
    assert wire.config_strings(config) == sent


@pytest.mark.parametrize("value", [1.5, 2.0, [], ["x"], {}, {"a": "b"}, b"x", object(), {1}])
def test_a_value_that_has_no_one_string_form_is_refused_by_its_key(value: Any) -> None:
    with pytest.raises(IncusInputError, match=r"^devices\['limits\.cpu'\] must be a str, int or bool, not "):
        wire.config_strings({"limits.cpu": value}, "devices")


@pytest.mark.parametrize("config", [None, "limits.cpu=2", ["limits.cpu"], 5, [("a", "b")]])
def test_a_configuration_that_is_no_mapping_is_refused(config: Any) -> None:
    with pytest.raises(IncusInputError, match="config must be a mapping"):
        wire.config_strings(config)


@pytest.mark.parametrize("key", ["", 5, None, b"a", ("a",)])
def test_a_configuration_key_that_is_no_name_is_refused(key: Any) -> None:
    with pytest.raises(IncusInputError, match="invalid key"):
        wire.config_strings({key: "x"})


def test_a_token_is_what_the_command_prints_and_takes() -> None:
    made = {
        "fingerprint": "f",
        "addresses": ["a:8443", "[::1]:8443"],
        "secret": "s",
        "expiresAt": "2026-01-01T00:00:00Z",
    }
    read = json.loads(base64.b64decode(wire.token({**made, "request": {}}, client_name="é"), validate=True))
    assert read == {
        "client_name": "é",
        "fingerprint": "f",
        "addresses": ["a:8443", "[::1]:8443"],
        "secret": "s",
        "expires_at": "2026-01-01T00:00:00Z",
    }
    del made["expiresAt"]
    assert json.loads(base64.b64decode(wire.token(made)))["expires_at"] == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        b"18446744073709551616",
        b"-9223372036854775809",
        b'{"n": 123456789012345678901234567890}',
        b"[NaN, Infinity, -Infinity, 1e400]",
        b"[-0, -0.0, 5e-324, 2.2250738585072011e-308, 1E5]",
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
        b'{"a": 1, "a": 2}',
    ],
)
def test_odd_json_is_read_the_same_with_orjson_and_without(
    text: bytes, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_MANY", 0)
    if not fast:
        monkeypatch.setitem(sys.modules, "orjson", None)
    assert repr(wire.read_json(text)) == repr(json.loads(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | anything,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(anything, inner, max_size=5),
    )
)
def test_any_json_is_read_as_json_reads_it(value: Any) -> None:
    text = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_MANY", 0)
        assert repr(wire.read_json(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("reason", "config", "expected"),
    [
        ("Invalid value: lots", {"limits.memory": "lots", "limits.cpu": "1"}, " (the value of limits.memory)"),
        ("Invalid CPU limit syntax", {"limits.cpu": "abc", "user.a": "1"}, " (the value of limits.cpu)"),
        ("Invalid UUID", {"volatile.uuid": "x", "boot.autostart": "yes", "limits.cpu": "1"}, ""),
        ("Invalid value: 1", {"limits.cpu": "1", "user.a": "1", "environment.B": "1"}, " (the value of limits.cpu)"),
        ("Invalid value", {"user.a": "1", "environment.B": "2", "volatile.uuid": "x", "image.os": "y"}, ""),
        ("Invalid root disk device: No root device", {"limits.cpu": "1"}, ""),
        ("Invalid network name: too long", {"ipv4.address": "none"}, ""),
        ('Invalid devices: Device validation failed for "eth0"', {"limits.cpu": "1"}, ""),
        ("Invalid port protocol in port specification 0", {"target_address": "198.51.100.5"}, ""),
        ("Invalid ingress rule 0: Action must be one of: allow", {"dns.nameservers": "a"}, ""),
    ],
)
def test_a_refused_value_names_its_key_only_where_that_is_sure(
    reason: str, config: dict[str, str], expected: str
) -> None:
    assert wire.missing_facts(reason, {"config": config}) == expected
