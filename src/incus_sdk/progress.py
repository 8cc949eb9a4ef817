"""Progress bars for whatever takes a while, on a terminal or in a notebook; elsewhere, lines of text.

    from incus_sdk import progress

    with progress.bars() as bars:
        await instance.path("/srv/data").push("data", progress=bars)

Needs ``rich``: ``pip install 'incus-sdk[progress]'``.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .exceptions import IncusError, _one_line
from .operations import OnProgress, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Live
    from rich.progress import TaskID

_STEP = 10  # percent after which there is another line of text


class Bars:
    """Progress bars: each is a function for ``progress=``. This object is one itself, for a single transfer.

    They come from `bars`.
    """

    def __init__(self, display: _Display) -> None:
        self._display = display
        self._unnamed = _Bar(display, "")

    def __call__(self, update: Progress) -> None:
        """Show how far a single transfer is.

        Args:
            update: The progress.
        """
        self._unnamed(update)

    def named(self, title: str) -> OnProgress:
        """Add a bar, of several that are shown at once.

        Args:
            title: What is shown before it.

        Returns:
            A function for ``progress=``.
        """
        return _Bar(self._display, title)


@contextlib.contextmanager
def bars() -> Generator[Bars]:
    """Show progress bars on stderr, for as long as the block takes.

    Where stderr is neither a terminal nor a notebook, there are lines of text instead; also in a notebook without
    ``ipywidgets``.

    Yields:
        The bars, of which the first one is shown with the first progress.

    Raises:
        IncusError: ``rich`` is not installed: ``pip install 'incus-sdk[progress]'``.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Live
        from rich.table import Column
    except ImportError:
        raise IncusError("progress bars need rich: pip install 'incus-sdk[progress]'") from None
    console = Console(stderr=True)
    if not console.is_terminal and not (console.is_jupyter and importlib.util.find_spec("ipywidgets")):
        yield Bars(_Lines(console))
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        TaskProgressColumn(),
        TextColumn("{task.fields[facts]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),  # what is left
    )
    with Live(*columns, console=console, expand=True) as live:
        try:
            yield Bars(_Rows(live))
        finally:
            live.refresh()  # which rich does not do at the end in a notebook


class _Display(Protocol):
    """Where bars are."""

    def show(self, bar: _Bar, update: Progress) -> None:
        """Show how far something is."""
        ...

    def end(self, bar: _Bar) -> None:
        """Show that a stage has come to its end, since another one has begun."""
        ...


class _Bar:
    """What is in progress; each of its stages has a row of its own."""

    def __init__(self, display: _Display, title: str) -> None:
        self._display = display
        self._title = title
        self._stage = ""
        self.task: TaskID | None = None
        """The row of the stage, on a terminal."""
        self.percent = -_STEP
        """What the last line of text said."""

    def __call__(self, update: Progress) -> None:
        if update.stage != self._stage:
            if self._stage:
                self._display.end(self)
            self._stage, self.task, self.percent = update.stage, None, -_STEP
        self._display.show(self, update)

    @property
    def words(self) -> str:
        """What it is."""
        return _one_line(": ".join(filter(None, [self._title, self._stage.replace("_", " ")])) or "working")


@dataclass(frozen=True)
class _Rows:
    live: Live

    def show(self, bar: _Bar, update: Progress) -> None:
        if bar.task is None:
            bar.task = self.live.add_task(bar.words, total=None, facts="")
        total, done = (100.0, float(percent)) if (percent := update.percent) is not None else (None, 0.0)
        self.live.update(bar.task, total=total, completed=done, facts=_facts(update))

    def end(self, bar: _Bar) -> None:
        if bar.task is not None:
            self.live.update(bar.task, total=100, completed=100)


@dataclass(frozen=True)
class _Lines:
    console: Console

    def show(self, bar: _Bar, update: Progress) -> None:
        percent = update.percent or 0
        if percent >= bar.percent + _STEP or (percent == 100 and bar.percent < 100):
            bar.percent = percent
            shown = "" if update.percent is None else f" {percent} %"
            line = f"{bar.words}{shown}{f', {facts}' if (facts := _facts(update)) else ''}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def end(self, bar: _Bar) -> None:
        pass


def _facts(update: Progress) -> str:
    """Bytes, files, rate, and what is under way."""
    done = [] if update.processed is None else [_bytes(update.processed)]
    if update.processed is not None and update.total is not None:
        done = [f"{_bytes(update.processed)} of {_bytes(update.total)}"]
    if update.files is not None:
        done.append(f"{update.files}{f' of {update.total_files}' if update.total_files is not None else ''} files")
    if update.speed:
        done.append(f"{_bytes(update.speed)}/s")
    return _one_line(", ".join([*done, *filter(None, [update.item])]))


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
