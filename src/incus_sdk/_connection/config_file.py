"""The text of the ``incus`` command's ``config.yml``: read as the command reads it, changed in one place.

People write that file, too. The command decodes it into fields that know their type: a text is the scalar's own text,
whatever YAML takes ``0x1F`` or ``1_000`` for. So this works on the nodes of the first document, and a change is made in
the text, where everything else stays byte by byte. What comes out is read again before it counts.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..exceptions import IncusInputError

_TRUE = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_TAG = "tag:yaml.org,2002:"
_NULL_TAG, _MERGE_TAG = f"{_TAG}null", f"{_TAG}merge"
_PLAIN_TAGS = dict.fromkeys(("", "~", "null", "Null", "NULL"), _NULL_TAG) | {"<<": _MERGE_TAG}
_MAX_PAIRS = 100_000
"""Keys that are read before a file counts as one of endless aliases."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """What the command finds in the file."""

    default_remote: str
    remotes: dict[str, Fields]


def parse(text: str, file: object) -> Content:
    """Read the text of ``file``, which is in the errors; raises `IncusInputError`."""
    if not text:
        return Content("", {})  # most programs have no such file, and do without loading the parser
    return _Document(text, file).content()


def insert_remote(text: str, file: object, name: str, entry: Fields) -> str:
    """Return the text with one more remote, and everything else as it was; raises `IncusInputError`."""
    before = _Document(text, file)
    old = before.content()
    wanted = replace(old, remotes={**old.remotes, name: _as_read(entry)})
    return before.changed_to(wanted, before.insertions(name, entry), "add")


def remove_remote(text: str, file: object, name: str) -> str:
    """Return the text without a remote; raises `IncusInputError`."""
    before = _Document(text, file)
    old = before.content()
    wanted = replace(old, remotes={each: entry for each, entry in old.remotes.items() if each != name})
    return before.changed_to(wanted, before.removals(name), "remove")


def rename_remote(text: str, file: object, name: str, new_name: str) -> str:
    """Return the text with another name for a remote, which stays the default one; raises `IncusInputError`."""
    before = _Document(text, file)
    old = before.content()
    wanted = replace(old, remotes={new_name if each == name else each: old.remotes[each] for each in old.remotes})
    changed = before.changed_to(wanted, before.renamings(name, new_name), "rename")
    return set_default(changed, file, new_name) if old.default_remote == name else changed


def set_default(text: str, file: object, name: str) -> str:
    """Return the text with another default remote; raises `IncusInputError`."""
    before = _Document(text, file)
    wanted = replace(before.content(), default_remote=name)
    return before.changed_to(wanted, before.settings({"default-remote": name}), "switch")


def set_field(text: str, file: object, name: str, field: str, value: str) -> str:
    """Return the text with another value in a field of a remote; raises `IncusInputError`."""
    before = _Document(text, file)
    old = before.content()
    wanted = replace(old, remotes={**old.remotes, name: {**old.remotes[name], field: value}})
    return before.changed_to(wanted, before.settings({field: value}, name), "set-urls" if field == "addr" else "switch")


@dataclass
class _Node:
    """A value in the text, from ``start`` to ``end``; of an alias, the value of its anchor."""

    kind: str
    tag: str
    value: Any
    start: int
    end: int
    flow: bool = False
    alias: str | None = None


class _Document:
    """The first document of a text."""

    def __init__(self, text: str, file: object) -> None:
        import yaml

        self._file = file
        self._start = text[:1] if text.startswith("\ufeff") else ""
        self._text = text[len(self._start) :]
        self._pairs_read = 0
        try:
            self._events = list(_events_of_first_document(self._text))
            self._root = _compose(self._events)
        except (yaml.YAMLError, ValueError) as error:
            raise IncusInputError(f"{file} is not YAML: {' '.join(str(error).split())}") from None

    def content(self) -> Content:
        content = self._content(explicit_wins=True)
        # Of a key that `<<` brings again, the last one counts for older versions of the command.
        if self._content(explicit_wins=False) != content:
            raise IncusInputError(
                f"{self._file}: versions of the incus command read it differently, where `<<` brings keys that are "
                "there already: write `<<` first"
            )
        return content

    def _content(self, *, explicit_wins: bool) -> Content:
        if self._root is None or _is_null(self._root):
            return Content("", {})
        if not _is_mapping(self._root):
            raise self._error("it is not a mapping")
        default_remote, remotes = "", dict[str, Fields]()
        for key, value in self._pairs(self._root, explicit_wins):
            if key == "default-remote":
                default_remote = self._read_text(value, key)
            elif key == "remotes":
                # A second mapping adds to the first one, and null takes both away.
                found = self._read_remotes(value, explicit_wins)
                remotes = {} if _is_null(value) else {**remotes, **found}
        return Content(default_remote, remotes)

    def _read_remotes(self, node: _Node, explicit_wins: bool) -> dict[str, Fields]:
        if _is_null(node):
            return {}
        if not _is_mapping(node):
            raise self._error("remotes must be a mapping of names to remotes")
        remotes = {}
        for name, value in self._pairs(node, explicit_wins):
            if not _is_null(value) and not _is_mapping(value):
                raise self._error("remotes must be a mapping of names to remotes")
            fields = {} if _is_null(value) else dict(self._fields(value, explicit_wins))
            remotes[name] = {key: field for key, field in fields.items() if field}
        return remotes

    def _fields(self, node: _Node, explicit_wins: bool) -> Iterator[tuple[str, str | bool]]:
        for key, value in self._pairs(node, explicit_wins):
            if key == "public":
                yield key, self._read_bool(value, key)
            elif key in ("addr", "auth_type", "last_working_address", "project", "protocol"):
                yield key, self._read_text(value, key)

    def _pairs(self, node: _Node, explicit_wins: bool, depth: int = 0) -> Iterator[tuple[str, _Node]]:
        """The keys and values of a mapping, with those that ``<<`` brings, in the order in which they count."""
        merged: list[tuple[str, _Node]] = []
        explicit: list[tuple[str, _Node]] = []
        for key, value in node.value:
            self._pairs_read += 1
            if depth > 100 or self._pairs_read > _MAX_PAIRS:
                raise self._error("its aliases have no end")
            if _is_merge(key):
                target = merged if explicit_wins else explicit
                for base in reversed(value.value) if _is_sequence(value) else (value,):
                    if not _is_mapping(base):
                        raise self._error("`<<` must bring a mapping")
                    target += self._pairs(base, explicit_wins, depth + 1)
            else:
                explicit.append((self._read_text(key, "a key"), value))
        own = {key for key, _ in explicit} if explicit_wins else set()
        yield from ((key, value) for key, value in merged if key not in own)
        yield from explicit

    def _read_text(self, node: _Node, what: str) -> str:
        if not _is_scalar(node):
            raise self._error(f"{what} must be a text")
        if _is_null(node):
            return ""
        if node.tag == f"{_TAG}binary":
            try:
                return base64.b64decode(node.value, validate=False).decode(errors="replace")
            except (binascii.Error, ValueError):
                raise self._error(f"{what} is not in base64") from None
        return str(node.value)

    def _read_bool(self, node: _Node, what: str) -> bool:
        if _is_scalar(node):
            if _is_null(node):
                return False
            if node.value in (*_TRUE, *_FALSE) and node.tag in ("", f"{_TAG}bool"):
                return node.value in _TRUE
        raise self._error(f"{what} must be true or false")

    def _error(self, problem: str) -> IncusInputError:
        return IncusInputError(f"{self._file} is not a configuration of the incus command: {problem}")

    def changed_to(self, wanted: Content, candidates: Iterator[str], verb: str) -> str:
        """The first of some texts that has the wanted content and else is this one; raises `IncusInputError`."""
        for changed in candidates:
            with contextlib.suppress(IncusInputError):
                after = _Document(changed, self._file)
                if after.content() == wanted and (self._is_kept_in(after) or after._is_kept_in(self)):
                    return changed
        raise IncusInputError(
            f"{self._file} is written so that this cannot be changed without changing the rest: write its `remotes` as "
            f"a plain mapping, or use `incus remote {verb}`"
        )

    def _is_kept_in(self, other: _Document) -> bool:
        """Whether the other document is this one with more in one place, where a null or an alias may have been."""
        own, others = ([_without_place(event) for event in each._events] for each in (self, other))
        at_start = _common(own, others)
        at_end = _common(own[at_start:][::-1], others[at_start:][::-1])
        return at_start + at_end >= len(own) - 1

    def insertions(self, name: str, entry: Fields) -> Iterator[str]:
        """Texts with one more remote; which of them is right shows when it is read again."""
        if self._root is None:
            yield self._replace(len(self._text), len(self._text), "\n" + _as_block({"remotes": {name: entry}}))
            yield _as_block({"remotes": {name: entry}}) + self._text
        elif _is_null(self._root):
            yield from self._in_place_of(self._root, {"remotes": {name: entry}})
        elif _is_mapping(self._root):
            yield from self._into_remotes(self._root, name, entry, set())
            yield from self._into(self._root, {"remotes": {name: entry}})

    def removals(self, name: str) -> Iterator[str]:
        """Texts without a remote."""
        for mapping in self._mappings_of_remotes():
            for number, (key, value) in enumerate(mapping.value):
                if not self._is_key(key, name):
                    continue
                following = self._item_start(mapping.value[number + 1][0]) if mapping.value[number + 1 :] else None
                if mapping.flow:
                    first, last = number == 0, following is None
                    start = key.start if first or not last else mapping.value[number - 1][1].end
                    yield self._replace(start, value.end if following is None else following, "")
                    continue
                line = self._line_start(key.start)
                # What a block ends with belongs to it only up to its last line: comments and empty lines come after it.
                end = following or self._line_end(value.end)
                lines = self._text[line:end].splitlines(keepends=True)
                while len(lines) > 1 and not lines[-1].split("#")[0].strip():
                    lines.pop()
                yield self._replace(line, line + len("".join(lines)), "")
                yield self._replace(self._item_start(key), following or value.end, "")
                yield self._replace(self._item_start(key), following or value.end, "{}\n")  # of `!!map`, when empty

    def renamings(self, name: str, new_name: str) -> Iterator[str]:
        """Texts with another name for a remote."""
        for mapping in self._mappings_of_remotes():
            for key, _ in mapping.value:
                if self._is_key(key, name):
                    yield self._replace(key.start, key.end, _as_scalar(new_name))
                    yield self._replace(key.start, key.end, json.dumps(new_name))

    def settings(self, field: Fields, remote: str | None = None) -> Iterator[str]:
        """Texts with another value for a field, of the whole or of a remote."""
        ((name, value),) = field.items()
        owners = [self._root]
        if remote is not None:
            mappings = self._mappings_of_remotes()
            owners = [entry for mapping in mappings for key, entry in mapping.value if self._is_key(key, remote)]
        for owner in owners:
            if owner is None:
                yield _as_block(field) + self._text
            elif _is_null(owner):
                yield from self._in_place_of(owner, field)
            elif _is_mapping(owner):
                values = [old for key, old in owner.value if self._is_key(key, name)]
                for old in values:
                    written = self._text[old.start : old.end]
                    before, after = "" if written else " ", written[len(written.rstrip()) :]
                    yield self._replace(old.start, old.end, before + _as_scalar(value) + after)
                    yield self._replace(old.start, old.end, before + json.dumps(value) + after)
                if not values:
                    yield from self._into(owner, field)

    def _mappings_of_remotes(self) -> Iterator[_Node]:
        if self._root is not None and _is_mapping(self._root):
            yield from (value for key, value in self._root.value if self._is_key(key, "remotes") and _is_mapping(value))

    def _is_key(self, node: _Node, key: str) -> bool:
        return _is_scalar(node) and not _is_merge(node) and self._read_text(node, "a key") == key

    def _into_remotes(self, root: _Node, name: str, entry: Fields, seen: set[int]) -> Iterator[str]:
        seen.add(id(root.value))
        for key, value in root.value:
            if _is_scalar(key) and key.value == "remotes":
                if value.alias is not None:
                    merged = "" if _is_null(value) else f"<<: *{value.alias}, "
                    yield self._replace(value.start, value.end, f"{{{merged}{_as_flow({name: entry})[1:]}")
                elif _is_null(value):
                    yield from self._in_place_of(value, {name: entry})
                elif _is_mapping(value):
                    yield from self._into(value, {name: entry})
        for key, value in root.value:
            if _is_merge(key):
                for base in value.value if _is_sequence(value) else (value,):
                    if _is_mapping(base) and id(base.value) not in seen:
                        yield from self._into_remotes(base, name, entry, seen)

    def _into(self, mapping: _Node, entry: Fields) -> Iterator[str]:
        if mapping.flow:
            end = mapping.end - 1
            for comma in (", ", " ") if mapping.value else ("",):
                yield self._replace(end, end, f"{comma}{_as_flow(entry)[1:-1]}")
            return
        # Before a key, since what ends after the last value depends on much; the first key can be an alias.
        for key, _ in mapping.value[:20]:
            at = self._item_start(key)
            line = self._line_start(at)
            margin = " " * (at - line)
            yield self._replace(at, at, margin.join(_as_block(entry).splitlines(keepends=True)) + margin)

    def _in_place_of(self, null: _Node, entry: Fields) -> Iterator[str]:
        """In place of a null, whose anchor remains."""
        start, end = null.start, null.end
        properties = re.match(r"(?:[&!]\S*\s*)*", self._text[start:end])
        kept = (properties[0] if properties else "").replace("!!null", "").strip()
        yield self._replace(start, end, f" {kept} ".rstrip() + f" {_as_flow(entry)}")
        yield self._replace(start, end, f"\n{_as_block(entry)}")

    def _line_start(self, place: int) -> int:
        return max(self._text.rfind(end, 0, place) for end in "\n\r") + 1

    def _line_end(self, place: int) -> int:
        """The end of a line of which no more than a comment is left."""
        rest = re.compile(r"[ \t]*(#[^\r\n]*)?(\r?\n|\r|$)").match(self._text, place)
        return rest.end() if rest and place > self._line_start(place) else place

    def _item_start(self, key: _Node) -> int:
        """Where a key begins, with the question mark that can be before it."""
        line = self._line_start(key.start)
        return line + mark if (mark := self._text[line : key.start].find("?")) >= 0 else key.start

    def _replace(self, start: int, end: int, text: str) -> str:
        return self._start + self._text[:start] + text + self._text[end:]


def _common(one: list[Any], other: list[Any]) -> int:
    """The length of what both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (left, right) in pairs if left != right), min(len(one), len(other)))


def _events_of_first_document(text: str) -> Iterator[Any]:
    import yaml

    # Of the two parsers of PyYAML this one is that of the command, in C; it is missing in some builds.
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield event
        elif isinstance(event, yaml.DocumentEndEvent):
            return


def _compose(events: list[Any]) -> _Node | None:
    """The tree of nodes; unlike PyYAML's own, an anchor can be used again, as the command allows."""
    import yaml

    anchors: dict[str, _Node] = {}
    top: list[_Node] = []
    open_nodes: list[tuple[_Node | None, list[_Node]]] = [(None, top)]
    for event in events:
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.CollectionEndEvent):
            node, children = open_nodes.pop()
            if node is not None:
                node.end = end
                pairs = zip(children[::2], children[1::2], strict=True)
                node.value += pairs if node.kind == "mapping" else children
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"the alias {event.anchor} is unknown")
            node = replace(anchors[event.anchor], start=start, end=end, alias=event.anchor)
        elif isinstance(event, yaml.ScalarEvent):
            tag = event.tag
            if tag is None or tag == "!":
                tag = _PLAIN_TAGS.get(event.value, "") if event.implicit[0] else ""
            node = _Node("scalar", tag, event.value, start, end)
        else:
            kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
            node = _Node(kind, event.tag or "", [], start, end, bool(event.flow_style))
        open_nodes[-1][1].append(node)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((node, []))
        if event.anchor is not None and node.alias is None:
            anchors[event.anchor] = node
    return top[0] if top else None


def _without_place(event: Any) -> tuple[object, ...]:
    names = ("anchor", "tag", "value", "implicit", "style")
    return (type(event), *(getattr(event, name, None) for name in names))


def _is_scalar(node: _Node) -> bool:
    return node.kind == "scalar"


def _is_mapping(node: _Node) -> bool:
    return node.kind == "mapping"


def _is_sequence(node: _Node) -> bool:
    return node.kind == "sequence"


def _is_null(node: _Node) -> bool:
    return node.tag == _NULL_TAG


def _is_merge(node: _Node) -> bool:
    return node.tag == _MERGE_TAG and node.value == "<<"


def _as_read(entry: Fields) -> Fields:
    return {key: value for key, value in entry.items() if value}


def _as_flow(value: Fields) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_scalar(value: str) -> str:
    import yaml

    return str(yaml.safe_dump(value, allow_unicode=True, width=2**30)).splitlines()[0]


def _as_block(value: Fields) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=2**30)
    return text
