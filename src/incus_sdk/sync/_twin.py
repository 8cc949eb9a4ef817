"""What the blocking classes stand on: each holds its async object, and calls it by the client's portal.

They are made by ``tools/blocking.py``. Values that come back are turned into their blocking forms here, and what the
caller gives is turned into what the async SDK takes: functions, iterables and files are used in the caller's thread.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import io
import os
import sys
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, Self, TypeVar

from .._connection import transport
from .._content import BinaryFile, Content, may_block, size_of
from .._outputs import Output, OutputReader, left_of
from ..api import _forwarding
from ..api._forwarding import LocalAddress
from ..exceptions import IncusError, IncusInputError, IncusNotLoadedError
from ..models._tables import Table
from ..models.base import Json, Record
from ._portal import Line, Portal

T = TypeVar("T")

Input = bytes | str | BinaryIO | Iterable[bytes] | None
"""The stdin of a command: all its bytes or text, a file open for reading, or an iterable of bytes."""

_ASYNC, _BLOCKING = "incus_sdk.", "incus_sdk.sync."
_READ = 2**20  # bytes of a read from a file
_END = object()


class Twin:
    """The blocking form of an object of the async SDK."""

    _twins: ClassVar[dict[type, type[Twin] | None]] = {}
    """The blocking class of each class that was met; a memory of what `_twin_of` finds, and nothing else."""

    _portal: Portal
    if not TYPE_CHECKING:
        _async: Any

    def __init__(self, *_: Any, **__: Any) -> None:
        raise IncusInputError(f"{type(self).__name__} objects come from the methods of a client")

    @classmethod
    def _of(cls, held: Any, portal: Portal) -> Self:
        """The blocking form of ``held``."""
        twin = cls.__new__(cls)
        twin.__dict__.update(_async=held, _portal=portal)
        return twin

    @classmethod
    def _adopt(cls, held: Any) -> Self:
        """The blocking form of an object that has connections of its own, and so a portal."""
        twin = cls.__new__(cls)
        twin._begin(held)
        return twin

    def _begin(self, held: Any) -> None:
        scope = getattr(held, "_scope", None)
        self.__dict__.update(_async=held, _portal=Portal(repr(held), None if scope is None else scope.transport))

    @classmethod
    def _come_from(cls, work: Any) -> Self:
        """`_adopt` what a coroutine makes."""
        portal = Portal()
        try:
            twin = cls._adopt(portal.run(work))
            twin._portal.attach()
        finally:
            portal.close()
        return twin

    @classmethod
    def _source(cls) -> Any:
        """The class of the async SDK."""
        kind = next(kind for kind in cls.__mro__ if kind.__module__.startswith(_BLOCKING))
        return getattr(import_module(_ASYNC + kind.__module__.removeprefix(_BLOCKING)), kind.__name__)

    def _enter(self, work: Any) -> Self:
        """Begin a block."""
        self._portal.run(work, self._leave_entered)
        self.__dict__["_loop"] = self._portal.loop
        return self

    def _leave_entered(self) -> None:
        """End a block that the caller never entered, being interrupted."""
        held: Any = self
        self.__dict__["_loop"] = self._portal.loop
        held.__exit__(*sys.exc_info())

    def _leave(self, work: Any) -> None:
        """End a block."""
        self._portal.leave(work, self.__dict__.get("_loop"))

    def _wrap(self, value: Any) -> Any:
        """A value in its blocking form, whatever the async SDK returned."""
        if value is None or value is self.__dict__["_async"]:
            return value if value is None else self
        kind = type(value)
        if (twin := _twin_of(kind)) is not None:
            if isinstance(self, twin):  # of a subclass of the caller's, perhaps
                return type(self)._of(value, self._portal)
            # A client from a method, as of a daemon, is closed by itself.
            return twin._adopt(value) if hasattr(value, "use_project") else twin._of(value, self._portal)
        if kind is list or kind is Table:
            return kind(self._wrap(each) for each in value)
        if kind is dict:
            has_twins = any(_twin_of(type(each)) for each in value.values())
            return {key: self._wrap(each) for key, each in value.items()} if has_twins else value
        if kind is tuple:
            return tuple(self._wrap(each) for each in value)
        if isinstance(value, asyncio.StreamReader):
            return StreamReader._of(value, self._portal)
        if isinstance(value, asyncio.StreamWriter):
            return StreamWriter._of(value, self._portal)
        if isinstance(value, transport.WebSocket):
            return WebSocket._of(value, self._portal)
        if isinstance(value, AsyncIterator):
            return self._portal.iterate(value, self._wrap)
        if isinstance(value, AbstractAsyncContextManager):
            return self._portal.enter(value, self._wrap)
        if dataclasses.is_dataclass(kind) and (copied := _blocking(kind)) not in (None, kind):
            return copied(**{each.name: self._wrap(getattr(value, each.name)) for each in dataclasses.fields(kind)})
        return value

    def __repr__(self) -> str:
        return repr(self._async)

    def __eq__(self, other: object) -> bool:
        return bool(self._async == unwrap(other))

    def __hash__(self) -> int:
        return hash(self._async)

    if TYPE_CHECKING:

        @property
        def _async(self) -> Any: ...


def _blocking(kind: type) -> Any:
    """The class of the same name in the blocking module of the same name; None if there is none."""
    if not kind.__module__.startswith(_ASYNC) or kind.__module__.startswith(_BLOCKING):
        return None
    name = _BLOCKING + kind.__module__.removeprefix(_ASYNC)
    try:
        found = sys.modules.get(name) or (find_spec(name) and import_module(name))
    except ModuleNotFoundError:
        return None
    return vars(found).get(kind.__name__) if found else None


def _twin_of(kind: type) -> type[Twin] | None:
    if kind not in Twin._twins:
        found = _blocking(kind)
        Twin._twins[kind] = found if isinstance(found, type) and issubclass(found, Twin) else None
    return Twin._twins[kind]


class RecordTwin(Twin, Record):
    """The blocking form of a record with verbs: that record still, with the same JSON."""

    @classmethod
    def _of(cls, held: Any, portal: Portal) -> Self:
        cls._field_table()
        return super()._of(held, portal)

    if not TYPE_CHECKING:

        @property
        def _json(self) -> Json:
            return self._async._json

    @property
    def raw(self) -> Json:
        """The JSON object itself, not a copy."""
        with Words():
            raw: Json = self._async.raw
            return raw

    def _read_absent(self, name: str, key: str, read: Callable[[Json, str], Any]) -> Any:
        with Words():
            return self._async._read_absent(name, key, read)

    def __getitem__(self, key: str) -> Any:
        with Words():
            return self._async[key]

    def __iter__(self) -> Iterator[str]:
        with Words():
            return iter(self._async)

    def __len__(self) -> int:
        with Words():
            return len(self._async)

    def __bool__(self) -> bool:
        return bool(self._async)

    def __repr__(self) -> str:
        return Record.__repr__(self)

    def __hash__(self) -> int:
        return hash(self._async)

    def __reduce__(self) -> Any:
        return self._async.__reduce__()


class Words:
    """Says what to do in the words of blocking code."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IncusNotLoadedError):
            error.args = (error.args[0].replace("await ", ""),)


class TwinProtocol(Protocol):
    """What the blocking forms of protocols have as well."""

    @property
    def _async(self) -> Any: ...

    @property
    def _portal(self) -> Portal: ...

    def _wrap(self, value: Any) -> Any: ...


class Scoped(Protocol):
    """A client."""

    @property
    def _async(self) -> Any: ...

    def use_project(self, project: str) -> Any:
        """A view for another project."""
        ...


class StreamReader(Twin):
    """The blocking form of `asyncio.StreamReader`, whose methods it has; an iterator of lines."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def read(self, n: int = -1) -> bytes:
        """Read up to ``n`` bytes, or all up to the end.

        Args:
            n: How many bytes at most; -1 for all.
        """
        data: bytes
        if n <= 0 or not isinstance(self._async, OutputReader):
            data = self._portal.run(self._async.read(n))
        elif not (self._portal.is_open and (data := self._async.take(n))):
            data = self._portal.run(self._async.read_gathered(n))
        return data

    def readline(self) -> bytes:
        """Read a line, with its end; empty at the end of the stream.

        Raises:
            ValueError: It is too long, longer than 1 MiB where a command writes it: use `read`.
        """
        data: bytes = self._portal.run(self._async.readline())
        return data

    def readexactly(self, n: int) -> bytes:
        """Read exactly ``n`` bytes.

        Args:
            n: How many bytes.

        Raises:
            asyncio.IncompleteReadError: The stream ends before that.
        """
        data: bytes = self._portal.run(self._async.readexactly(n))
        return data

    def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Read up to a separator, which is part of the result.

        Args:
            separator: The separator.

        Raises:
            asyncio.IncompleteReadError: The stream ends before that.
        """
        data: bytes = self._portal.run(self._async.readuntil(separator))
        return data

    def at_eof(self) -> bool:
        """Whether the stream has ended, and all of it was read."""
        return bool(self._async.at_eof())


class StreamWriter(Twin):
    """The blocking form of `asyncio.StreamWriter`, whose methods it has; `write` waits until there is room."""

    def write(self, data: bytes) -> None:
        """Write bytes; waits until there is room for more.

        Args:
            data: The bytes.
        """
        self._portal.run(written(self._async, "write", data))

    def writelines(self, data: Iterable[bytes]) -> None:
        """Write several pieces.

        Args:
            data: The pieces.
        """
        self._portal.run(written(self._async, "writelines", list(data)))

    def drain(self) -> None:
        """Wait until there is room for more, which `write` does by itself."""
        self._portal.run(self._async.drain())

    def can_write_eof(self) -> bool:
        """Whether the stream can be ended without closing it."""
        return bool(self._async.can_write_eof())

    def write_eof(self) -> None:
        """End what is written; reading goes on."""
        self._portal.call(self._async.write_eof)

    def close(self) -> None:
        """Close the stream."""
        self._portal.call(self._async.close)

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return bool(self._async.is_closing())

    def wait_closed(self) -> None:
        """Wait until it is closed."""
        self._portal.run(self._async.wait_closed())


class WebSocket(Twin):
    """The blocking form of an open websocket: whole messages, ``str`` for text and ``bytes`` for binary."""

    def receive(self, idle: float | None = None) -> bytes | str | None:
        """Wait for the next message.

        Args:
            idle: Seconds to wait while nothing comes, pings included; None for no limit.

        Returns:
            The message; None once it is closed, or after ``idle``.

        Raises:
            IncusConnectionError: It broke.
        """
        message: bytes | str | None = self._portal.run(self._async.receive(idle))
        return message

    def send(self, data: bytes | memoryview | str) -> None:
        """Send one message, waiting while the other side does not read.

        Args:
            data: The message.

        Raises:
            IncusConnectionError: It is closed.
        """
        self._portal.run(self._async.send(data))

    def close(self) -> None:
        """Close it; harmless when it is closed already."""
        self._portal.run(self._async.close())


async def written(stream: Any, verb: str, data: Any) -> None:
    """Write to a stream, and wait until there is room for more."""
    getattr(stream, verb)(data)
    await stream.drain()


def unwrap(value: Any) -> Any:
    """What the async SDK knows of a value."""
    return value._async if isinstance(value, Twin) else value


def used(value: Any) -> Any:
    """`unwrap` what a call uses, such as the client of another server: the thread is kept for that too."""
    if isinstance(value, Twin):
        value._portal.keep()
    return unwrap(value)


def plain(value: T) -> T:
    """`unwrap` for type checkers: of a record, which stays one."""
    found: T = unwrap(value)
    return found


def posted(function: Any) -> Any:
    """A function that is called in the caller's thread, and whose result nobody waits for."""
    return (lambda *arguments: _line().post(function, *arguments)) if callable(function) else function


def asked(function: Any, wrap: Callable[[Any], Any] = unwrap) -> Any:
    """A function that is called in the caller's thread, and whose result counts; anything else stays as it is."""
    if not callable(function) or isinstance(function, type):
        return function

    def call(*arguments: Any) -> Any:
        result = function(*map(wrap, arguments))
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise IncusInputError("a blocking call takes a plain function, not one that returns something to await")
        return result

    async def ask(*arguments: Any) -> Any:
        return await _line().ask(call, *arguments)

    functools.update_wrapper(ask, function)  # errors name it
    return ask


def given_output(output: Output) -> Any:
    """Where a command's output goes."""
    if isinstance(output, io.TextIOBase) or may_block(output) or not hasattr(output, "write"):
        return asked(output)
    file: Any = output

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = left_of(view, file.write(view), file)
        if hasattr(file, "flush"):
            file.flush()

    return asked(write)


def given_input(input: Input, encoding: str) -> Any:
    """The input of a command."""
    if isinstance(input, str | bytes) or input is None or may_block(input):
        return input
    if hasattr(input, "read"):
        return _reads(input, encoding)
    return _pieces(input) if isinstance(input, Iterable) and not isinstance(input, Mapping) else input


def given_content(content: Content) -> Any:
    """What is uploaded."""
    if isinstance(content, str | bytes | bytearray | memoryview | os.PathLike | io.TextIOBase | AsyncIterable):
        return content
    if may_block(content):
        return content
    if isinstance(content, BinaryFile):
        return _File(content)
    return _pieces(content) if isinstance(content, Iterable) and not isinstance(content, Mapping) else content


def given_body(body: Any) -> Any:
    """The body of a request: bytes that come piece by piece, or what becomes JSON."""
    if body is None:
        return None  # the check below takes longer than all else here
    return given_content(body) if isinstance(body, Iterator | BinaryFile) else unwrap(body)


def given_options(options: T) -> T:
    """Keyword arguments, of which some are called."""
    given: Any = options
    for name, give in (("progress", posted), ("rootfs", given_content)):
        if name in given:
            given = {**given, name: give(given[name])}
    found: T = given
    return found


class _File(AsyncIterable[bytes]):
    """A file that is read in the caller's thread; its size was asked there before."""

    def __init__(self, file: BinaryFile) -> None:
        self._file = file
        self._size = size_of(file)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _reads(self._file)

    def seekable(self) -> bool:
        return self._size is not None

    def tell(self) -> int:
        return 0

    def seek(self, _: int, whence: int = 0) -> int:
        return (self._size or 0) if whence == os.SEEK_END else 0


async def _pieces(items: Iterable[Any]) -> AsyncIterator[Any]:
    iterator = await _line().ask(iter, items)
    async with aclosing(_line().ask_ahead(lambda: next(iterator, _END), lambda item: item is _END)) as pieces:
        async for piece in pieces:
            yield piece


async def _reads(file: Any, encoding: str = "utf-8") -> AsyncIterator[bytes]:
    async with aclosing(_line().ask_ahead(lambda: file.read(_READ), lambda piece: not piece)) as pieces:
        async for piece in pieces:
            yield piece.encode(encoding) if isinstance(piece, str) else piece


@contextmanager
def local_listener(
    connect: Callable[[], AbstractContextManager[tuple[StreamReader, StreamWriter]]], local_port: int = 0
) -> Generator[LocalAddress]:
    """Listen on a port of 127.0.0.1 for the time of ``with``, and connect each connection to a stream.

        disk = client.storage_pools["default"].volumes["custom/disk"]
        with local_listener(disk.nbd) as address:
            print(f"nbd://{address}")

    One that cannot be connected is reset; the others go on.

    Args:
        connect: Opens a stream, for each connection: ``volume.nbd``, for example. It runs in the SDK's own thread.
        local_port: The port; 0 for a free one.

    Yields:
        The host and the port. All connections end with the block.

    Raises:
        IncusInputError: It is not a port, or is taken.
    """
    portal = Portal()

    def connect_async() -> AbstractAsyncContextManager[Any]:
        entered: Any = connect()
        found: AbstractAsyncContextManager[Any] = entered.manager
        return found

    try:
        with portal.enter(_forwarding.local_listener(connect_async, local_port), unwrap) as address:
            yield address
    finally:
        portal.close()


def run_here(held: Any, call: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run what needs the signals of the main thread: in a loop of this thread, on connections of its own.

    Raises `IncusError` where a loop runs here already.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise IncusError("an event loop runs here, as in a notebook, so the terminal stays: use open_process()")
    from .._terminal import is_terminal

    if is_terminal() and threading.current_thread() is not threading.main_thread():
        raise IncusError("the terminal is handed over in the main thread alone: call this there, or use open_process()")
    apart, scope = object.__new__(type(held)), copy.copy(held._scope)
    vars(apart).update(vars(held))  # a copy of a record would be a plain record, without verbs
    apart._scope, scope.transport = scope, copy.copy(scope.transport)
    scope.transport._pool = None

    async def run() -> T:
        try:
            return await call(apart)
        finally:
            await scope.transport.close()

    return asyncio.run(run())


def _line() -> Line:
    line = Line.current()
    assert line is not None, "it is called by a task of a blocking call"
    return line
