"""A sandbox provider for Inspect AI: the tools of a model that is evaluated run in boxes.

    import inspect_sandbox  # which registers it
    Task(..., sandbox=("incus", "images:debian/13"))

Needs ``pip install inspect-ai``. Each sample has a box of its own, from a pool that its task opens. Boxes reach no
network. Relative paths are in ``/work``. Commands run as root, if no user is given, and files are root's.
"""

from __future__ import annotations

import posixpath
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal, overload

from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxConnection,
    SandboxEnvironment,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    sandboxenv,
)
from pydantic import BaseModel

from incus_sdk import (
    Client,
    IncusInputError,
    IncusInstanceStoppedError,
    IncusNotFoundError,
    IncusNotRunningError,
    ProcessError,
)
from incus_sdk.sandbox import Box, Limits, Pool, connect, prune

WORK = "/work"


class IncusConfig(BaseModel, frozen=True):
    """What ``Task(sandbox=SandboxEnvironmentSpec("incus", IncusConfig(...)))`` takes."""

    image: str = "images:debian/13"
    size: int = 2
    cpu: float = 1
    memory: str = "1GiB"
    processes: int = 256
    disk: str | None = None
    storage: str | None = None
    ttl: float = 3600


@dataclass
class _Opened:
    """The pool of a task, and what closes it."""

    pool: Pool
    stack: AsyncExitStack


@sandboxenv(name="incus")  # pyright: ignore[reportUntypedClassDecorator]
class IncusSandbox(SandboxEnvironment):
    """A box as Inspect wants it."""

    _opened: dict[tuple[str, IncusConfig], _Opened] = {}  # noqa: RUF012  Inspect calls class methods

    def __init__(self, box: Box, stack: AsyncExitStack) -> None:
        super().__init__()
        self.box = box
        self._stack = stack

    @classmethod
    async def task_init(cls, task_name: str, config: BaseModel | str | None) -> None:
        """Open the task's pool."""
        given = _config(config)
        limits = Limits(cpu=given.cpu, memory=given.memory, processes=given.processes, disk=given.disk)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client())
            await prune(client, labels={"app": "inspect"})
            pool = Pool(
                client,
                given.image,
                size=given.size,
                ttl=given.ttl,
                labels={"app": "inspect"},
                limits=limits,
                storage=given.storage,
            )
            await stack.enter_async_context(pool)
            cls._opened[task_name, given] = _Opened(pool, stack.pop_all())

    @classmethod
    async def sample_init(
        cls, task_name: str, config: BaseModel | str | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Lease a box."""
        async with AsyncExitStack() as stack:
            box = await stack.enter_async_context(cls._opened[task_name, _config(config)].pool.lease(timeout=600))
            await box.run(["mkdir", "-p", WORK], check=True)
            return {"default": cls(box, stack.pop_all())}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: BaseModel | str | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Destroy the box."""
        for each in environments.values():
            await each.as_type(IncusSandbox)._stack.aclose()

    @classmethod
    async def task_cleanup(cls, task_name: str, config: BaseModel | str | None, cleanup: bool) -> None:
        """Close the pool; what is left of it is destroyed, whatever ``cleanup`` says."""
        await cls._opened.pop((task_name, _config(config))).stack.aclose()

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """Destroy one box, or all that dead programs have left."""
        async with Client() as client:
            if id is None:
                await prune(client, labels={"app": "inspect"})
            else:
                await (await connect(client, id)).destroy()

    @classmethod
    def config_deserialize(cls, config: dict[str, object]) -> BaseModel:
        """The configuration from a log."""
        return IncusConfig.model_validate(config)

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command; after the timeout, which is a `TimeoutError`, all that it has started is killed."""
        most = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        where = posixpath.join(WORK, cwd or "")
        try:
            done = await self.box.run(cmd, input=input, cwd=where, env=env, user=user, timeout=timeout, max_output=most)
        except ProcessError as error:
            limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR
            raise OutputLimitExceededError(limit, _text(error.stdout or error.stderr)) from error
        except (IncusNotRunningError, IncusInstanceStoppedError) as error:
            raise SandboxUnavailableError(str(error)) from error
        except IncusInputError as error:  # no such user, for example
            return ExecResult(False, 1, "", str(error))
        if done.returncode == 126:  # as shells and the server have it
            raise PermissionError(f"{cmd[0]}: {_text(done.stderr)}")
        return ExecResult(done.returncode == 0, done.returncode, _text(done.stdout), _text(done.stderr))

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, with the directories above it."""
        path = posixpath.join(WORK, file)
        if await self.box.instance.path(path).is_dir():
            raise IsADirectoryError(f"{file} is a directory")
        await self.box.write(path, contents)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...
    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...
    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file."""
        path = posixpath.join(WORK, file)
        try:
            found = await self.box.instance.path(path).stat()
            if found.type == "directory":
                raise IsADirectoryError(f"{file} is a directory")
            if found.size > SandboxEnvironmentLimits.MAX_READ_FILE_SIZE:
                raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
            content = await self.box.read(path, limit=SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        except IncusNotFoundError:
            raise FileNotFoundError(f"there is no file {file}") from None
        return content.decode() if text else content

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """How a human gets into the box."""
        login = f"su - {user}" if user else "su -"
        return SandboxConnection(type="incus", command=f"incus exec {self.box.id} -- {login}", container=self.box.id)


def _config(given: BaseModel | str | None) -> IncusConfig:
    """The configuration; a text is an image."""
    if isinstance(given, IncusConfig):
        return given
    return IncusConfig(image=given) if isinstance(given, str) else IncusConfig()


def _text(output: object) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else ""
