"""How far a run is, on standard error: one line that moves where somebody watches, now and then a line elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class Watch:
    """Shows loss, learning rate, samples a second and the time left. Says nothing for any process but the first."""

    def __init__(self, *, steps: int, batch: int, every: int, quiet: bool) -> None:
        self.steps, self.batch, self.every, self.quiet = steps, batch, max(every, 1), quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        columns = (TextColumn("step {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"))
        hidden = quiet or not self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, transient=True, disable=hidden)
        self.task = self.bar.add_task("", total=steps)
        self.first, self.times = 0, list[float]()

    def __enter__(self) -> "Watch":
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.console.print(line, markup=False)

    def begin(self, done: int) -> None:
        """The first step begins."""
        self.first, self.times = done, [time.monotonic()]
        self.bar.update(self.task, completed=done)

    def show(self, done: int, record: Mapping[str, float]) -> None:
        """A step is done."""
        self.times = [*self.times[-100:], time.monotonic()]  # the rate of the last hundred steps
        passed = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        rate = self.batch / passed if passed > 0 else 0.0
        line = f"loss {record['loss']:.4f}  lr {record['learning_rate']:.2e}  {rate:,.0f} samples/s"
        if done < self.steps:
            line += f"  {_duration((self.steps - done) * passed)} left"
        self.bar.update(self.task, completed=done, description=line)
        measured = {name: value for name, value in record.items() if name.startswith("evaluate/")}
        if measured:
            self.say(f"step {done}/{self.steps}  " + "  ".join(f"{n[9:]} {v:.4f}" for n, v in measured.items()))
        if not self.console.is_terminal and (done % self.every == 0 or done == self.steps or done == self.first + 1):
            self.say(f"step {done}/{self.steps}  {line}")


class Ahead:
    """Shows how far work is that comes before the first step, where it takes more than a few seconds."""

    def __init__(self, what: str, total: int, *, quiet: bool) -> None:
        self.what, self.total, self.quiet = what, total, quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self.begun = self.said = time.monotonic()

    def show(self, done: int) -> None:
        """So many are done."""
        now, over = time.monotonic(), done >= self.total
        pause = 1.0 if self.console.is_terminal else 30.0
        if self.quiet or (now - self.said < pause and not (over and self.said > self.begun)):
            return
        self.said, rate = now, done / max(now - self.begun, 1e-9)
        left = "" if over else f"  {_duration((self.total - done) / max(rate, 1e-9))} left"
        end = "\r" if self.console.is_terminal and not over else "\n"
        self.console.print(f"{self.what} {done:,}/{self.total:,}  {rate:,.0f}/s{left}".ljust(60), end=end, markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
