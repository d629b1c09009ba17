"""Says what is being done, how far it is and how long it took; on a terminal with a moving line."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Without a terminal, a step that goes on says where it is this often.
PLAIN_INTERVAL_S = 15.0


class Step:
    """One thing that takes a while."""

    def __init__(self, title: str, live: RichProgress | None) -> None:
        self.title = title
        self.started = time.monotonic()
        self._live = live
        self._task: TaskID | None = live.add_task(title, total=None, detail="") if live else None
        self._last_line = self.started

    def detail(self, text: str) -> None:
        """What the step is busy with now."""
        if self._live and self._task is not None:
            self._live.update(self._task, detail=text)
        elif time.monotonic() - self._last_line > PLAIN_INTERVAL_S:
            self._last_line = time.monotonic()
            _line(f"  {self.title}: {text} ({self.elapsed_s:.0f} s so far)")

    def advance(self, done: float, total: float) -> None:
        """How far the step is, in any unit."""
        if self._live and self._task is not None:
            self._live.update(self._task, completed=done, total=total)
        elif total:
            self.detail(f"{100 * done / total:.0f} %")

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def close(self, outcome: str) -> None:
        if self._live and self._task is not None:
            self._live.remove_task(self._task)
            self._live.console.print(
                f"{self.title}: {outcome} in {self.elapsed_s:.1f} s", highlight=False, markup=False
            )
        else:
            _line(f"{self.title}: {outcome} in {self.elapsed_s:.1f} s")


class Progress:
    """The steps that are under way; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._live: RichProgress | None = None

    @contextmanager
    def step(self, title: str, expected: str = "") -> Iterator[Step]:
        """Announces a step, and says how long it took. `expected` says beforehand how long that may be."""
        with self._lock:
            live = self._start_live()
            self._running += 1
            announced = f"{title} ({expected})" if expected else title
            if live is None:
                _line(f"{announced} ...")
            step = Step(title, live)
            step.detail(expected)
        try:
            yield step
        except BaseException:
            self._finish(step, "failed")
            raise
        self._finish(step, "done")

    def say(self, text: str) -> None:
        """One line that stays."""
        if self._live:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            _line(text)

    def _finish(self, step: Step, outcome: str) -> None:
        with self._lock:
            step.close(outcome)
            self._running -= 1
            if self._live and not self._running:
                self._live.stop()
                self._live = None

    def _start_live(self) -> RichProgress | None:
        if self._live is None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            self._live = RichProgress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[detail]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._live.start()
        return self._live


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
