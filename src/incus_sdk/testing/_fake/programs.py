"""The few commands of a fake instance that need no script: true, false, echo, cat, pwd, env, sleep, and sh of those.

In ``sh -c``, every command is looked up as if it ran by itself, in the scripts first. Of the shell's language there are
``;``, ``&&``, ``||``, pipes, redirections, quotes, variables, ``exit``, ``exec``, ``cd`` and ``set -e``; a script with
anything else needs a script of the test.
"""

from __future__ import annotations

import asyncio
import errno
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..._run import _KILL_MARKED
from ...files._tar import _EXTRACT, Member, pack, unpack
from ...process import _RUN_AS_USER
from .commands import STDERR, STDOUT, Commands, FakeCommand, Program, Send

_PIECE = 64 * 1024
_LOGIN = ("-l", "-c", 'exec "$0" "$@"')
_TAR = ("xargs", "-0", "tar", "-cf", "-")

_TOKEN = re.compile(
    r"""(?:[ \t]|\\\n|\#[^\n]*)*(?:
        (?P<operator>&&|\|\||[12]?>>|[12]?>|<|[;|\n])
        |(?P<word>(?:'[^']*'|"(?:[^"\\`]|\\.)*"|\\.|\$(?:\{\w+\}|\?)|[^\s'"\\;&|<>()`{}*?\[\]])+)
        |$
    )""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*|\d|\?)|\{(\w+)\})")
_IN_DOUBLE = re.compile(rf'\\([$"\\`\n])|{_VARIABLE.pattern}')
_NOT_KNOWN = re.compile(r"\$(?:[#@*$!(-]|\{(?!\w+\}))")
"""What a shell puts something else in the place of, and this one does not."""


def unwrapped(args: tuple[str, ...]) -> tuple[tuple[str, ...], int | None, int | None]:
    """A command without what the SDK runs around it for a user: program and arguments, user id and group id.

    Args:
        args: The command as the server gets it.
    """
    user = group = None
    if args[:3] == ("sh", "-c", _RUN_AS_USER):
        user, group, args = int(args[4]), int(args[5]), args[8:]
    if args[1:4] == _LOGIN:
        args = args[4:]
    return args, user, group


def of_sdk(args: tuple[str, ...]) -> Program | None:
    """What a command does that the SDK runs for a purpose of its own.

    Args:
        args: Program and arguments.
    """
    if args == _TAR:
        return _create_tar
    if args[:2] == ("sh", "-c") and len(args) > 2:
        return {_EXTRACT: _extract_tar, _KILL_MARKED: _kill_marked}.get(args[2])
    return None


async def _create_tar(commands: Commands, command: FakeCommand) -> int:
    """Reads many small files."""
    members = list[Member]()
    for name in (await command.stdin.read()).split(b"\0")[:-1]:
        path = _absolute(command.cwd, name.decode(errors="surrogateescape"))
        try:
            members.append((name, command.files.stat(path, follow_symlinks=False), command.files[path]))
        except OSError:
            return 1
    command.write(b"".join(pack(members)))
    return 0


async def _extract_tar(commands: Commands, command: FakeCommand) -> int:
    """Writes many small files."""
    directory, parent = command.args[4:]
    for name, found, content in unpack(await command.stdin.read()):
        path = posixpath.join(parent, directory, name.decode(errors="surrogateescape"))
        command.files[path] = content
        command.files.set(path, uid=found.uid, gid=found.gid, mode=found.mode, mtime=found.mtime)
    return 0


async def _kill_marked(commands: Commands, command: FakeCommand) -> int:
    """Kills what has a mark in its environment."""
    name, _, mark = command.args[4].partition("=")
    commands.end_all(each for each in commands.running if each.env.get(name) == mark)
    return 0


async def _true(commands: Commands, command: FakeCommand) -> int:
    return 0


async def _false(commands: Commands, command: FakeCommand) -> int:
    return 1


async def _echo(commands: Commands, command: FakeCommand) -> int:
    words, options = command.args[1:], ""
    while words and re.fullmatch("-[neE]+", words[0]):
        options, words = options + words[0], words[1:]
    if "e" in options and any("\\" in word for word in words):
        return await commands.refuse(command)
    command.write((" ".join(words) + ("" if "n" in options else "\n")).encode(errors="surrogateescape"))
    return 0


async def _cat(commands: Commands, command: FakeCommand) -> int:
    code = 0
    for name in command.args[1:] or ("-",):
        if name == "-":
            while piece := await command.stdin.read(_PIECE):
                command.write(piece)
                await asyncio.sleep(0)
            continue
        try:
            command.write(command.files[_absolute(command.cwd, name)])
        except OSError as error:
            command.write_error(f"cat: can't open '{name}': {error.strerror}\n")
            code = 1
    return code


async def _pwd(commands: Commands, command: FakeCommand) -> int:
    command.write(f"{command.cwd}\n")
    return 0


async def _env(commands: Commands, command: FakeCommand) -> int:
    if len(command.args) > 1:
        return await commands.refuse(command)
    command.write("".join(f"{name}={value}\n" for name, value in command.env.items()))
    return 0


async def _sleep(commands: Commands, command: FakeCommand) -> int:
    try:
        seconds = sum(map(float, command.args[1:]))
    except ValueError:
        return await commands.refuse(command)
    await asyncio.sleep(seconds)
    return 0


async def _sh(commands: Commands, command: FakeCommand) -> int:
    words, letters = list(command.args[1:]), ""
    while words and re.fullmatch("-[celu]+", words[0]):
        letters += words.pop(0)
    if words and "c" in letters:
        text, *names = words
    elif "c" in letters:
        command.write_error(f"{command.args[0]}: -c requires an argument\n")
        return 2
    elif not words:
        text, names = (await command.stdin.read()).decode(errors="surrogateescape"), []
    else:
        return await commands.refuse(command)
    try:
        script = _parse(text)
    except ValueError:
        return await commands.refuse(command)
    return await _Shell(commands, command, names or ["sh"], stops_at_errors="e" in letters).run(script)


PROGRAMS: Mapping[str, Program] = {
    "true": _true,
    ":": _true,
    "false": _false,
    "echo": _echo,
    "cat": _cat,
    "pwd": _pwd,
    "env": _env,
    "sleep": _sleep,
    **dict.fromkeys(("sh", "ash", "bash", "dash"), _sh),
}


@dataclass
class _Simple:
    """A command as it stands in the text: its words, and what goes where."""

    words: list[str] = field(default_factory=list[str])
    redirections: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


@dataclass
class _Pipeline:
    """Commands with pipes between them, and what the one before must have returned."""

    condition: str
    commands: list[_Simple]


def _parse(text: str) -> list[_Pipeline]:
    """The pipelines of a text; raises ValueError for what this shell does not know."""
    script, redirection = [_Pipeline(";", [_Simple()])], ""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"not known here: {text[position:]}")
        position = match.end()
        operator, word, simple = match["operator"], match["word"], script[-1].commands[-1]
        if redirection:
            simple.redirections.append((redirection, word))  # None makes it fail below
            redirection = ""
        elif word:
            simple.words.append(word)
        elif operator == "|":
            script[-1].commands.append(_Simple())
        elif operator in (";", "\n", "&&", "||"):
            script.append(_Pipeline(operator, [_Simple()]))
        elif operator and (to := text[position : position + 2]) in ("&1", "&2"):
            simple.redirections.append((operator, to))
            position += 2
        else:
            redirection = operator or ""
    script = [pipeline for pipeline in script if pipeline.commands != [_Simple()]]
    for simple in (each for pipeline in script for each in pipeline.commands):
        first, targets = simple.words[:1], [target for _, target in simple.redirections]
        if not first or first[0] in _KEYWORDS or re.match(r"\w+=", first[0]) or not all(targets) or redirection:
            raise ValueError(f"not known here: {text}")
        if not all(map(_is_known, [*simple.words, *targets])):
            raise ValueError(f"not known here: {text}")
    return script


def _is_known(word: str) -> bool:
    """Whether this shell knows all that a word stands for."""
    if word == '"$@"':
        return True
    parts = [re.sub(r"\\.", "", double + bare) for _, double, _, bare in _QUOTED.findall(word)]
    return not word.startswith("~") and not any(map(_NOT_KNOWN.search, parts))


_KEYWORDS = frozenset(
    (
        *("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function"),
        *("!", "trap", "eval", "source", "."),
    )
)


class _Exit(Exception):
    """The script ends with this exit code."""

    def __init__(self, code: int) -> None:
        self.code = code


class _Shell:
    """Runs the commands of one script.

    Args:
        commands: Runs each command.
        command: The shell.
        names: ``$0``, ``$1`` and so on.
        stops_at_errors: As ``set -e``.
    """

    def __init__(self, commands: Commands, command: FakeCommand, names: list[str], stops_at_errors: bool) -> None:
        self._commands = commands
        self._command = command
        self._names = names
        self._stops_at_errors = stops_at_errors
        self._cwd = command.cwd
        self._code = 0

    async def run(self, script: list[_Pipeline]) -> int:
        """Run it, and return its exit code."""
        try:
            for number, pipeline in enumerate(script):
                if pipeline.condition == ("||" if self._code == 0 else "&&"):
                    continue
                await self._run_pipeline(pipeline)
                is_tested = script[number + 1 :] and script[number + 1].condition in ("&&", "||")
                if self._code and self._stops_at_errors and not is_tested:
                    break
        except _Exit as end:
            return end.code
        return self._code

    async def _run_pipeline(self, pipeline: _Pipeline) -> None:
        stdin: bytes | None = None
        for simple in pipeline.commands:
            piped = bytearray()

            def collect(fd: int, data: bytes, piped: bytearray = piped) -> None:
                if fd == STDOUT:
                    piped.extend(data)
                else:
                    self._command.write_error(data)

            send = self._write if simple is pipeline.commands[-1] else collect
            self._code = await self._run_simple(simple, stdin, send)
            stdin = bytes(piped)

    def _write(self, fd: int, data: bytes) -> None:
        (self._command.write if fd == STDOUT else self._command.write_error)(data)

    async def _run_simple(self, simple: _Simple, stdin: bytes | None, send: Send) -> int:
        words = [word for each in simple.words for word in self._expand(each)]
        targets: dict[int, int | str | None] = {STDOUT: STDOUT, STDERR: STDERR}  # a stream, a file, or nothing
        for operator, target in simple.redirections:
            fd = STDERR if operator.startswith("2") else STDOUT
            if target in ("&1", "&2"):
                targets[fd] = targets[int(target[1])]
                continue
            path = _absolute(self._cwd, "".join(self._expand(target)))
            if path == "/dev/null":
                stdin, targets[fd] = (b"", targets[fd]) if operator == "<" else (stdin, None)
                continue
            try:
                if operator == "<":
                    stdin = self._command.files[path]
                    continue
                self._command.files.stat(posixpath.dirname(path))
                if not operator.endswith(">>") or path not in self._command.files:
                    self._command.files[path] = b""
                targets[fd] = path
            except OSError as error:
                if operator == "<":
                    self._complain(f"line 0: can't open {path}", error, {errno.ENOENT: "no such file"})
                else:
                    nowhere = dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "nonexistent directory")
                    self._complain(f"line 0: can't create {path}", error, nowhere)
                return 1

        def redirect(fd: int, data: bytes) -> None:
            target = targets[fd]
            if isinstance(target, int):
                send(target, data)
            elif target is not None:
                self._command.files[target] += data

        return await self._run_words(words, redirect, stdin)

    async def _run_words(self, words: list[str], send: Send, stdin: bytes | None) -> int:
        match words:
            case ["exit"]:
                raise _Exit(self._code)
            case ["exit", code] if code.isdecimal():
                raise _Exit(int(code) & 255)
            case ["exec", *rest]:
                raise _Exit(await self._run_words(rest, send, stdin))
            case ["cd", *path]:
                return self._change_directory(path[0] if path else self._command.env.get("HOME", "/"))
            case ["set", *options] if all(re.fullmatch("-[eux]+", each) for each in options):
                self._stops_at_errors |= any("e" in each for each in options)
                return 0
            case _:
                pass
        child = self._command._derive(words, send, stdin)
        child.cwd = self._cwd
        child.returncode = await self._commands.perform(child)
        return child.returncode

    def _complain(self, about: str, error: OSError, reasons: Mapping[int, str]) -> None:
        reason = reasons.get(error.errno or 0, error.strerror)
        self._command.write_error(f"{self._names[0]}: {about}: {reason}\n")

    def _change_directory(self, path: str) -> int:
        absolute = _absolute(self._cwd, path)
        try:
            self._command.files.listdir(absolute)
        except OSError as error:
            self._complain(f"cd: line 0: can't cd to {path}", error, {})
            return 2
        self._cwd = absolute
        return 0

    def _expand(self, word: str) -> list[str]:
        """What is left of a word without its quotes, and with what its variables hold."""
        if word == '"$@"':
            return self._names[1:]
        fields = [""]
        for single, double, escaped, bare in _QUOTED.findall(word):
            fields[-1] += single or escaped or _IN_DOUBLE.sub(self._in_double, double)
            position = 0
            for match in _VARIABLE.finditer(bare):
                fields[-1] += bare[position : match.start()]
                fields[-1:] = self._split(fields[-1], self._value(match[1] or match[2]))
                position = match.end()
            fields[-1] += bare[position:]
        return [each for each in fields if each] or ([""] if "'" in word or '"' in word else [])

    def _split(self, before: str, value: str) -> list[str]:
        """The words that a value without quotes makes, with what stands before it."""
        first, *more = re.split(r"[ \t\n]+", value)
        return [before + first, *more]

    def _in_double(self, match: re.Match[str]) -> str:
        return self._value(match[2] or match[3]) if match[1] is None else match[1].strip("\n")

    def _value(self, name: str) -> str:
        if name == "?":
            return str(self._code)
        if name == "PWD":
            return self._cwd
        if name.isdigit():
            return self._names[int(name)] if int(name) < len(self._names) else ""
        return self._command.env.get(name, "")


def _absolute(directory: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(directory, path))
