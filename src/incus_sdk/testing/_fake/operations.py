"""Operations: what goes on in the background after an answer."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from .answers import STATUSES, Answer, Refused, accepted, done, refusal, success
from .events import Events, now
from .machines import Machines
from .requests import FakeRequest
from .rules import OperationRule, Rules
from .streams import AnyAnswer, WebSocket, Websocket

_KEPT = 5.0
"""Seconds that a finished operation can still be read."""

PENDING, RUNNING, CANCELLING, SUCCESS, FAILURE, CANCELLED = 105, 103, 104, 200, 400, 401

Work = Callable[["Operation"], Any | Awaitable[Any]]
"""Does what the operation is for; its result becomes the metadata, and `Refused` the error."""


class Operation:
    """One operation."""

    def __init__(
        self,
        operations: Operations,
        request: FakeRequest,
        description: str,
        resources: Mapping[str, list[str]],
        *,
        project: str | None,
        kind: Literal["task", "websocket", "token"] = "task",
        metadata: dict[str, Any] | None = None,
        may_cancel: bool = False,
        sockets: Mapping[str, Callable[[WebSocket], Awaitable[None]]] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> None:
        self._operations = operations
        self.request = request
        self.project = project
        self.id = str(uuid.uuid4())
        self.kind = kind
        self.description = description
        self.resources = dict(resources)
        self.metadata: dict[str, Any] = metadata or {}
        self.may_cancel = may_cancel
        self.status = PENDING
        self.error = ""
        self.created_at = self.updated_at = now()
        self.finished_at: float | None = None
        self.sockets = dict(sockets or {})
        """By their secrets, those that can be connected."""
        self._on_cancel = on_cancel
        self._task: asyncio.Future[Any] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def path(self) -> str:
        """Its path."""
        return f"/1.0/operations/{self.id}"

    def view(self) -> dict[str, Any]:
        """It, as it is shown."""
        return {
            "id": self.id,
            "class": self.kind,
            "description": self.description,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "status": STATUSES[self.status],
            "status_code": self.status,
            "resources": self.resources,
            "metadata": self.metadata,
            "may_cancel": self.may_cancel,
            "err": self.error,
            "location": "none",
        }

    def tell(self) -> None:
        """Send what it is now to those who listen."""
        if self._operations.events.has_listeners:
            self._operations.events.send("operation", self.view(), self.project)

    def update(self, metadata: Mapping[str, Any]) -> None:
        """Change its metadata."""
        self.metadata = {**self.metadata, **metadata}
        self.updated_at = now()
        self.tell()

    def progress(self, stage: str, percent: int, text: str | None = None) -> None:
        """Say how far it is."""
        words = text or f"{stage.replace('_', ' ').capitalize()}: {percent}% (100.00MB/s)"
        self.update(
            {
                f"{stage}_progress": words,
                "progress": {"stage": stage, "percent": str(percent), "speed": "100000000"},
            }
        )

    def write_log(self, text: str) -> None:
        """Write to the log of the instance that it is about."""
        for path in self.resources.get("instances", ()):
            name = unquote(path.partition("?")[0].removeprefix("/1.0/instances/"))
            if (machine := self._operations.machines.of(self.request.project).get(name)) is not None:
                machine.logs["lxc.log"] = text.encode()

    def run(self, work: Work, rule: OperationRule | None) -> None:
        """Begin."""
        self.status = RUNNING
        self.tell()
        try:
            result = work(self) if rule is None else self._run_by(rule, work)
        except Exception as failure:
            self.finish(FAILURE, refusal(failure, self.description).message)
            return
        if inspect.isawaitable(result):
            self._task = asyncio.ensure_future(self._follow(result))
        else:
            self._succeed(result)

    def _run_by(self, rule: OperationRule, work: Work) -> Any:
        if rule.delay or rule.progress:
            return self._run_later(rule, work)
        return self._end_by(rule, work)

    async def _run_later(self, rule: OperationRule, work: Work) -> Any:
        steps = rule.progress or (None,)
        for step in steps:
            if step is not None:
                self.progress(*step)
            await asyncio.sleep(rule.delay / len(steps))
        result = self._end_by(rule, work)
        return await result if inspect.isawaitable(result) else result

    def _end_by(self, rule: OperationRule, work: Work) -> Any:
        if rule.fails is None:
            return work(self)
        if rule.log is not None:
            self.write_log(rule.log)
        raise Refused(500, rule.fails)

    async def _follow(self, work: Awaitable[Any]) -> None:
        try:
            self._succeed(await work)
        except Exception as failure:
            self.finish(FAILURE, refusal(failure, self.description).message)
        except asyncio.CancelledError:
            self.finish(CANCELLED)
            raise

    def _succeed(self, result: Any) -> None:
        if isinstance(result, dict):
            self.update(result)
        self.finish(SUCCESS)

    def finish(self, status: int, error: str = "") -> None:
        """It is over."""
        if self.finished_at is not None:
            return
        self.status, self.error = status, error
        self.may_cancel = self.may_cancel and self.kind == "token"
        self.updated_at, self.finished_at = now(), time.monotonic()
        self._operations.finished(self)
        self.tell()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def cancel(self) -> None:
        """End it before its end."""
        self.status = CANCELLING
        self.tell()
        self.finish(CANCELLED)
        if self._on_cancel is not None:
            self._on_cancel()
        elif self._task is not None:
            self._task.cancel()

    async def wait(self, seconds: float) -> None:
        """Wait for its end, for a time; a negative one is for ever."""
        if self.finished_at is not None:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(None if seconds < 0 else seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiting.remove(waiter)

    async def close(self) -> None:
        """End it with the fake."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class Operations:
    """``/1.0/operations``."""

    def __init__(self, events: Events, rules: Rules, machines: Machines) -> None:
        self.events = events
        self.machines = machines
        self._rules = rules
        self._all: dict[str, Operation] = {}
        self.count = 0
        """How many there were."""
        self._finished: deque[Operation] = deque()

    def begin(
        self,
        request: FakeRequest,
        description: str,
        work: Work | None,
        resources: Mapping[str, list[str]] | None = None,
        **how: Any,
    ) -> Answer:
        """Begin an operation after this answer, which names it; one without work waits until it is cancelled."""
        self._forget()
        how = {"project": request.project, **how}
        operation = Operation(self, request, description, resources or {}, **how)
        rule = self._rules.operation_rule(request)
        self._all[operation.id] = operation
        self.count += 1
        operation.tell()
        operation.status = RUNNING
        answer = accepted(operation.path, operation.view())
        operation.metadata = {key: value for key, value in operation.metadata.items() if key != "fds"}
        loop = asyncio.get_running_loop()
        if work is None:
            loop.call_soon(operation.tell)
        else:
            loop.call_soon(operation.run, work, rule)
        return answer

    def finished(self, operation: Operation) -> None:
        """An operation is over."""
        self._finished.append(operation)

    def _forget(self) -> None:
        limit = time.monotonic() - _KEPT
        while self._finished and (self._finished[0].finished_at or 0) < limit:
            self._all.pop(self._finished.popleft().id, None)

    def _find(self, id: str) -> Operation:
        self._forget()
        operation = self._all.get(id)
        if operation is None:
            raise Refused(404, "Operation not found")
        return operation

    def _of(self, request: FakeRequest) -> Iterator[Operation]:
        self._forget()
        everything = request.query.get("all-projects") == "true"
        if everything and "project" in request.query:
            raise Refused(400, "Cannot specify a project when requesting all projects")
        return (each for each in self._all.values() if everything or each.project in (None, request.project))

    def list(self, request: FakeRequest) -> Answer:
        """``GET`` of all, by their status."""
        found: dict[str, list[Any]] = {}
        for operation in self._of(request):
            item = operation.view() if request._recursion else operation.path
            found.setdefault(STATUSES[operation.status].lower(), []).append(item)
        return success(found)

    def get(self, request: FakeRequest, id: str) -> Answer:
        """``GET`` of one."""
        return success(self._find(id).view())

    def cancel(self, request: FakeRequest, id: str) -> Answer:
        """``DELETE`` of one."""
        operation = self._find(id)
        if operation.finished_at is not None:
            raise Refused(400, "Only running operations can be cancelled")
        if not operation.may_cancel:
            raise Refused(400, "This operation can't be cancelled")
        operation.cancel()
        self.events.lifecycle("operation-cancelled", operation.path, request, request.project)
        return done()

    def wait(self, request: FakeRequest, id: str) -> AnyAnswer | Awaitable[AnyAnswer]:
        """``GET`` that is answered at its end."""
        operation = self._find(id)
        if operation.finished_at is not None:
            return success(operation.view())
        try:
            seconds = float(request.query.get("timeout", "-1"))
        except ValueError:
            raise Refused(400, "Invalid timeout") from None
        return self._answer_at_end(operation, seconds)

    async def _answer_at_end(self, operation: Operation, seconds: float) -> Answer:
        await operation.wait(seconds)
        return success(operation.view())

    def connect(self, request: FakeRequest, id: str) -> AnyAnswer:
        """``GET`` that becomes one of its websockets."""
        operation = self._find(id)
        serve = operation.sockets.get(request.query.get("secret", ""))
        if serve is None:
            raise Refused(403, "Forbidden")
        return Websocket(serve)

    async def close(self) -> None:
        """End all with the fake."""
        for operation in list(self._all.values()):
            await operation.close()
