"""The async live tests, unchanged, through the blocking twin.

A test that runs so is given objects of the twin that look async: each blocking call runs in a thread, for which the
test waits. Where asyncio cancels that, the call is interrupted where it waits in its thread, as by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import inspect
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import cached_property, partial
from importlib import import_module
from types import GeneratorType, ModuleType
from typing import Any

import pytest

import incus_sdk.sync.testing
import incus_sdk.testing
from incus_sdk._connection.transport import WebSocket
from incus_sdk.models._tables import Table
from incus_sdk.sync import _portal, _twin
from incus_sdk.sync._portal import Line, Portal

CORE = {
    "contract/test_groups": """
        profiles_are_created_found_changed_replaced_renamed_and_deleted operations_are_found_waited_for_and_cancelled
        cluster_members_are_found_changed_and_renamed
        """,
    "contract/test_instances": """
        the_documented_example_runs_as_it_stands a_snapshot_is_taken_restored_renamed_changed_and_deleted
        list_knows_names_records_or_everything_by_its_recursion
        """,
    "contract/test_published_defects": """
        recursion_0_lists_handles_of_the_same_objects the_methods_of_an_image_work
        a_command_that_waits_for_websockets_gets_input_and_gives_output_and_exit_code
        """,
    "behaviour/test_process": """
        a_live_process_talks_line_by_line outputs_come_as_they_are_written communicate_sends_and_returns_everything
        a_terminal_has_a_size_that_can_change_and_one_stream leaving_the_block_kills_the_command_however_it_is_left
        a_shell_takes_over_the_terminal_and_gives_it_back the_console_talks_is_resized_and_left
        the_console_takes_over_the_terminal_until_its_keys_are_pressed cancelling_the_caller_kills_the_command
        check_raises_with_code_output_and_the_last_word
        a_program_ends_while_nothing_comes_on_the_pipe_that_it_gave_as_input
        """,
    "behaviour/test_files": """
        verbs_do_what_those_of_pathlib_do a_stream_is_read_in_pieces a_tree_comes_back_as_it_was
        a_file_is_written_from_whatever_gives_bytes what_is_made_at_a_path_of_a_user_belongs_to_that_user
        """,
    "behaviour/test_updates": "editing_saves_the_difference update_takes_keys_with_a_dot_as_configuration",
    "behaviour/test_events": "events_are_typed nothing_is_missed_from_the_first_line_of_the_block_on",
    "behaviour/test_operations": "progress_follows_the_operation_to_its_end a_failed_operation_raises_with_its_cause",
    "behaviour/test_lifecycle": "wait_for_takes_any_function a_cancellation_in_the_block_deletes_it",
    "behaviour/test_connect": "what_the_sdk_joined_the_command_uses",
    "sandbox/test_sandbox_boxes": "the_life_of_a_box_from_the_template_to_its_end",
    "versions/test_cluster": "a_server_joins_with_the_token_alone_and_leaves_again",
    "versions/test_copies": "addresses_are_tried_in_turn",
    "versions/test_image_copies": "a_name_leads_to_what_another_server_keeps_private",
    "versions/test_images": "an_image_in_one_file_comes_back_as_it_went an_image_is_changed_by_each_verb",
    "versions/test_instances": "commands_and_the_console single_files",
}
"""The tests, by file, that every whole run has through the twin as well: over one transport, on both versions."""

_PRIVATE = "looks at what is private in the async SDK, or changes it"
_ASYNC = "uses the async SDK beside the twin: in a program, a callback or another client"
_TASKS = "is about tasks of the caller's event loop"

NOT_THROUGH = {
    _PRIVATE: """
        the_documented_state_action_does_each_action the_outcome_of_a_forgotten_operation_is_lost_unless_it_was_seen
        a_temporary_instance_is_gone_although_its_deletion_gets_no_answer_at_first
        a_connection_that_breaks_is_an_error_for_all_who_wait what_is_private_is_so_from_its_first_byte_on
        volumes_have_files_where_the_server_serves_them update_sends_back_all_that_the_server_sent
        replace_with_an_etag_undoes_nobodys_change patch_hands_it_to_the_server
        editing_that_raises_or_changes_nothing_sends_nothing editing_keeps_what_others_write_meanwhile
        editing_saves_nothing_if_somebody_changed_the_same_key a_cancelled_update_holds_nobody_up
        an_update_that_meets_another_is_done_again an_update_gives_up_in_the_end wait_returns_the_operation_as_it_ended
        a_copy_that_is_cancelled_as_it_is_read_leaves_nothing a_fingerprint_stands_for_the_certificate
        a_proxy_that_leads_nowhere_is_named_without_its_password
        of_several_addresses_the_first_that_proves_itself_is_used
        websockets_send_no_origin_and_connections_are_used_again packets_of_sftp a_pool_looks_after_its_boxes
        a_command_whose_websockets_open_too_late_is_begun_again_and_runs_once retries_are_told_of
        a_line_for_each_request a_request_has_its_sizes_its_operation_and_its_connection no_secret_is_logged_or_traced
        it_is_taken_over it_is_found_under_the_name_that_the_server_picked it_is_removed_if_it_did_not_start
        a_copy_of_a_volume_is_made_in_the_background_and_waited_for an_object_is_created_found_listed_and_deleted
        a_client_that_is_not_trusted_is_told_so_and_what_to_do the_timeout_cuts_off_nothing_that_takes_its_time
        100_mib_go_up_and_come_down_unchanged_in_flat_memory all_views_of_a_client_share_its_connections
        a_websocket_hands_out_what_the_daemon_says a_refused_websocket_says_what_the_daemon_said
        an_upgraded_stream_speaks_sftp a_refused_upgrade_says_what_the_daemon_said
        all_small_files_go_by_tar the_rest_goes_over_sftp a_tree_whose_path_no_command_can_have_goes_over_sftp
        """,
    _ASYNC: """
        one_login_serves_the_sdk_and_the_command_until_it_is_refreshed
        without_a_login_nothing_is_done_and_the_error_says_what_to_do
        a_socket_that_is_not_for_this_user_says_which_group_to_join a_fault_at_any_byte_is_survived
        """,
    _TASKS: "leaving_the_block_leaves_no_task_and_no_waiting_reader it_runs_on_uvloop",
}
"""Tests that cannot run through the twin, by the reason."""

STREAMS: dict[type, type] = {
    _twin.StreamReader: asyncio.StreamReader,
    _twin.StreamWriter: asyncio.StreamWriter,
    _twin.WebSocket: WebSocket,
}
_END = object()
_threads = ThreadPoolExecutor(1000)


class _Interrupted(BaseException):
    """What `KeyboardInterrupt` is in the main thread."""


class _Call:
    """A blocking call in a thread, which can be interrupted."""

    current: ContextVar[_Call | None] = ContextVar("current", default=None)

    def __init__(self) -> None:
        self._interrupted = False
        self._line: Line | None = None
        self.callback: Future[Any] | None = None

    def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.current.set(self)
        return function(*arguments, **named)

    def interrupt(self) -> None:
        self._interrupted = True
        if self.callback is not None:
            self.callback.cancel()
        if self._line is not None:
            self._line.post(self._raise)

    @classmethod
    def watch(cls, line: Line, wait: Callable[[Line], Any]) -> Any:
        """`Line._next`, of which it is known who waits there."""
        if (call := cls.current.get()) is not None:
            call._line = line
            if call._interrupted:
                call._raise()
        return wait(line)

    def _raise(self) -> None:
        self._line, self._interrupted = None, False  # what cleans up afterwards is not interrupted again
        raise _Interrupted


async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Wait for a blocking function; a cancellation interrupts it."""
    call, loop = _Call(), asyncio.get_running_loop()
    work = partial(copy_context().run, call.run, function, *arguments, **named)
    done = loop.run_in_executor(_threads, work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        call.interrupt()
        await asyncio.wait([done])
        done.exception()
        raise


class Asynced:
    """An object of the twin that looks like one of the async SDK."""

    def __init__(self, twin: Any) -> None:
        vars(self)["_twin"] = twin

    @property
    def __class__(self) -> Any:
        return STREAMS.get(type(self._twin)) or self._twin._source()

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise AttributeError

    def __getattr__(self, name: str) -> Any:
        return _attribute(self._twin, self.__class__, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._twin, name, undressed(value))

    async def __aenter__(self) -> Any:
        return dressed(await in_thread(self._twin.__enter__))

    async def __aexit__(self, *error: Any) -> Any:
        return await in_thread(self._twin.__exit__, *error)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        if (item := await in_thread(next, self._twin, _END)) is _END:
            raise StopAsyncIteration
        return dressed(item)

    def __getitem__(self, key: Any) -> Any:
        return dressed(self._twin[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._twin[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._twin[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._twin)

    def __len__(self) -> int:
        return len(self._twin)

    def __bool__(self) -> bool:
        return bool(self._twin)

    def __truediv__(self, other: Any) -> Any:
        return dressed(self._twin / other)

    def __lt__(self, other: Any) -> bool:
        return bool(self._twin < undressed(other))

    def __eq__(self, other: object) -> bool:
        return bool(self._twin == undressed(other))

    def __hash__(self) -> int:
        return hash(self._twin)

    def __str__(self) -> str:
        return str(self._twin)

    def __repr__(self) -> str:
        return repr(self._twin)

    def __bytes__(self) -> bytes:
        return bytes(self._twin)

    def __reduce__(self) -> Any:
        return self._twin.__reduce__()


class _Class:
    """A class of the twin that looks like that of the async SDK."""

    def __init__(self, kind: type, twin: type) -> None:
        self._kind = kind
        self._twin = twin

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return dressed(self._twin(*undressed(arguments), **undressed(named)))

    def __getattr__(self, name: str) -> Any:
        return _attribute(self._twin, self._kind, name)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._kind)


class _Items(AsyncGenerator[Any]):
    """A blocking generator that looks async."""

    def __init__(self, items: Generator[Any]) -> None:
        self._items = items

    async def __anext__(self) -> Any:
        if (item := await in_thread(next, self._items, _END)) is _END:
            raise StopAsyncIteration
        return dressed(item)

    async def asend(self, value: Any) -> Any:
        raise NotImplementedError

    async def athrow(self, *error: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        await in_thread(self._items.close)


class _Block(contextlib.AbstractAsyncContextManager[Any]):
    """A blocking context manager that looks async."""

    def __init__(self, manager: contextlib.AbstractContextManager[Any]) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        return dressed(await in_thread(self._manager.__enter__))

    async def __aexit__(self, *error: Any) -> bool | None:
        return bool(await in_thread(self._manager.__exit__, *error))


def _attribute(twin: Any, source: Any, name: str) -> Any:
    is_private = name.startswith("_") and not hasattr(type(twin), name)  # which some tests look at
    value = getattr(twin._async if is_private else twin, name)
    if not inspect.ismethod(value) and not inspect.isfunction(value):
        return dressed(value)

    def call(*arguments: Any, **named: Any) -> Any:
        return dressed(value(*undressed(arguments), **undressed(named)))

    async def wait(*arguments: Any, **named: Any) -> Any:
        return dressed(await in_thread(value, *undressed(arguments), **undressed(named)))

    is_coroutine = inspect.iscoroutinefunction(getattr(source, name, None))
    return wait if is_coroutine else call


def dressed(value: Any) -> Any:
    """A value of the twin, looking like the async SDK's."""
    kind = type(value)
    if isinstance(value, _twin.Twin):
        asynced: Asynced = vars(value).setdefault("_asynced", Asynced(value))  # the same one each time
        return asynced
    if kind in (list, tuple, Table):
        return kind(map(dressed, value))
    if kind is dict and any(isinstance(each, _twin.Twin) for each in value.values()):
        return {key: dressed(each) for key, each in value.items()}
    if kind is GeneratorType:
        return _Items(value)
    if isinstance(value, contextlib.AbstractContextManager) and kind.__module__.startswith("incus_sdk"):
        return _Block(value)
    if dataclasses.is_dataclass(kind) and kind.__module__.startswith("incus_sdk.sync."):
        source = getattr(import_module(kind.__module__.replace(".sync.", ".", 1)), kind.__name__)
        return source(**{each.name: dressed(getattr(value, each.name)) for each in dataclasses.fields(kind)})
    return value


def undressed(value: Any) -> Any:
    """What a test gives, as the twin takes it."""
    kind = type(value)
    if kind is Asynced:
        return vars(value)["_twin"]
    if kind in (list, tuple):
        return kind(map(undressed, value))
    if kind is dict:
        return {key: undressed(each) for key, each in value.items()}
    if inspect.isroutine(value) or isinstance(value, partial):
        return _called_in_loop(value)
    if isinstance(value, AsyncIterable) and not hasattr(value, "read"):
        return _pulled_from_loop(value)
    return value


def _function(blocking: Callable[..., Any]) -> Callable[..., Any]:
    """A blocking function of the SDK that looks async."""

    async def wait(*arguments: Any, **named: Any) -> Any:
        return dressed(await in_thread(blocking, *undressed(arguments), **undressed(named)))

    return wait


def _called_in_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    loop = asyncio.get_running_loop()

    async def call(*arguments: Any) -> Any:
        result = function(*map(dressed, arguments))
        return undressed(await result if inspect.isawaitable(result) else result)

    return lambda *arguments: _wait_for_loop(loop, call(*arguments))


def _pulled_from_loop(items: AsyncIterable[Any]) -> Generator[Any]:
    loop, iterator = asyncio.get_running_loop(), aiter(items)

    async def pull() -> Any:
        return await anext(iterator, _END)

    def pulled() -> Generator[Any]:
        while (item := _wait_for_loop(loop, pull())) is not _END:
            yield item

    return pulled()


def _wait_for_loop(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    future = asyncio.run_coroutine_threadsafe(work, loop)
    if (call := _Call.current.get()) is not None:
        call.callback = future
    return future.result()


class _Fixtures:
    """What fixtures gave to a test, as objects of the twin: of the same servers, over connections of their own."""

    def __init__(self) -> None:
        self._portals: dict[Any, tuple[Any, Portal]] = {}
        self._daemons: list[incus_sdk.sync.testing.Daemon] = []

    def convert(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, incus_sdk.testing.Daemon):
            self._daemons.append(incus_sdk.sync.testing.Daemon._adopt(value))
            return dressed(self._daemons[-1])
        if (twin := _twin._twin_of(kind)) is not None and hasattr(value, "_scope"):
            return dressed(twin._of(*self._apart(value)))
        if kind in (list, dict):
            pairs = value.items() if kind is dict else enumerate(value)
            converted = {key: self.convert(each) for key, each in pairs}
            return converted if kind is dict else list(converted.values())
        if hasattr(value, "_replace"):
            return kind(*map(self.convert, value))
        if dataclasses.is_dataclass(kind) and kind.__module__.startswith("tests."):
            return dataclasses.replace(
                value, **{each.name: self.convert(getattr(value, each.name)) for each in dataclasses.fields(kind)}
            )
        return value

    def _apart(self, held: Any) -> tuple[Any, Portal]:
        """A copy of an object for another event loop, and the way there."""
        original = held._scope.transport
        if original not in self._portals:
            transport = copy.copy(original)
            transport._pool = None
            self._portals[original] = transport, Portal(repr(held), transport)
        transport, portal = self._portals[original]
        scope, apart = copy.copy(held._scope), object.__new__(type(held))
        scope.transport = transport
        known = {name: each for name, each in vars(held).items() if not _is_cached(type(held), name)}
        vars(apart).update(known, _scope=scope)
        return apart, portal

    def close(self) -> None:
        for daemon in self._daemons:
            daemon._portal.close()
        for transport, portal in self._portals.values():
            portal.run(transport.close())
            portal.close()


def _is_cached(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), cached_property)


def ways(test: pytest.Function, *, everything: bool) -> list[Any]:
    """In which ways a test runs; nothing where there is only the one way."""
    file, name = f"{test.path.parent.name}/{test.path.stem}", test.originalname.removeprefix("test_")
    through = pytest.param("blocking", id="blocking")
    if not inspect.iscoroutinefunction(test.obj):
        return []
    if everything:
        reasons = [why for why, names in NOT_THROUGH.items() if name in names.split()]
        return [pytest.param("blocking", id="blocking", marks=pytest.mark.skip(reasons[0])) if reasons else through]
    if name in CORE.get(file, "").split():
        return [pytest.param("async", id=pytest.HIDDEN_PARAM), through]
    return []


def is_blocking(item: pytest.Function) -> bool:
    """Whether a test runs through the twin."""
    return hasattr(item, "callspec") and item.callspec.params.get("_way") == "blocking"


def _blocking_program(code: str) -> str:
    code = code.replace("from incus_sdk import", "from incus_sdk.sync import").replace("asyncio.run(main())", "main()")
    return re.sub(r"\b(async|await) ", "", code)


def _test_modules() -> list[ModuleType]:
    return [module for name, module in sys.modules.items() if name.startswith("tests.live.") and module is not _HERE]


_HERE = sys.modules[__name__]


@contextlib.contextmanager
def given_the_twin(item: pytest.Function) -> Generator[None]:
    """A test gets objects of the twin until the block ends."""
    fixtures, wait = _Fixtures(), Line._next
    for name, value in item.funcargs.items():
        item.funcargs[name] = fixtures.convert(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_portal, "_PATIENCE", 60)  # as asyncio has it
        patch.setattr(Line, "_next", lambda line: _Call.watch(line, wait))
        for module in _test_modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, type) and (twin := _twin._twin_of(value)) is not None:
                    patch.setattr(module, name, _Class(value, twin))
                elif inspect.iscoroutinefunction(value) and (function := _twin._blocking(value)) is not None:
                    patch.setattr(module, name, _function(function))
                elif isinstance(value, str) and "asyncio.run(main())" in value and value.count("asyncio.") == 1:
                    patch.setattr(module, name, _blocking_program(value))
        try:
            yield
        finally:
            fixtures.close()
