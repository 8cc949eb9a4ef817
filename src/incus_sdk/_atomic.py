"""The one writer of local files: they appear complete, or not at all."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
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

    target = Path(path)
    if "\0" in str(target):
        raise IncusInputError(f"{str(target)!r} is not a path: it has a NUL")
    try:
        if target.exists() and not target.is_file():
            raise IncusInputError(f"{target} is not a regular file, and would be replaced by one")
        target = Path(os.path.realpath(target))
        if keep_mode and target.exists():
            mode = target.stat().st_mode & 0o7777
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                os.chmod(file.name, mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        if isinstance(error, TimeoutError):  # it comes from inside the block
            raise
        raise IncusInputError(f"{target} cannot be written: {error.strerror or error}") from error
