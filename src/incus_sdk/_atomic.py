"""The one writer of local files: they appear complete, or not at all, and one process after the other writes."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from .exceptions import IncusInputError


@contextmanager
def atomic_file(path: str | os.PathLike[str], mode: int = 0o600, *, keep_mode: bool = True) -> Generator[IO[bytes]]:
    """A file that appears complete when the block ends, also in place of another; or not at all if it raises.

    Of a link, the target is replaced. A file that exists keeps its mode, unless ``keep_mode`` is False; a new one gets
    ``mode``. Raises `IncusInputError` if it cannot be written.
    """
    import tempfile

    target = _checked_path(path)
    try:
        if target.exists() and not target.is_file():
            raise IncusInputError(f"{target} is not a regular file, and would be replaced by one")
        target = Path(os.path.realpath(target))
        if keep_mode and target.exists():
            mode = target.stat().st_mode & 0o7777
        file = tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False)  # noqa: SIM115
        try:
            with file:
                os.chmod(file.name, mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, target)  # Windows neither renames nor removes what is open
        except BaseException:
            os.unlink(file.name)
            raise
    except OSError as error:
        if isinstance(error, TimeoutError):  # it comes from inside the block
            raise
        raise IncusInputError(f"{target} cannot be written: {error.strerror or error}") from error


def is_same_target(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether `atomic_file` would write the same file for both paths. Raises `IncusInputError` for what is no path."""
    return os.path.realpath(_checked_path(path)) == os.path.realpath(_checked_path(other))


def _checked_path(path: str | os.PathLike[str]) -> Path:
    try:
        checked = Path(path)
    except TypeError:
        raise IncusInputError(f"a file is named by a str or a PathLike, not {path!r}") from None
    if "\0" in str(checked):
        raise IncusInputError(f"{str(checked)!r} is not a path: it has a NUL")
    return checked


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Keep other processes that ask for the same out of the block. Raises `OSError` if that cannot be had."""
    try:
        import fcntl
    except ImportError:  # Windows: its locks are on bytes of a file
        import msvcrt

        fd = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT)
        lock = partial(msvcrt.locking, fd, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
    else:
        fd = os.open(directory, os.O_RDONLY)
        lock = partial(fcntl.flock, fd, fcntl.LOCK_EX)
    try:
        lock()
        yield
    finally:
        os.close(fd)
