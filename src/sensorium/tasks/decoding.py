"""Files decoded ahead by threads, while a model works on those before them."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from os import cpu_count
from typing import TypeVar

from sensorium.data.errors import SensoriumError, Unreadable

Source = TypeVar("Source")
Row = TypeVar("Row")


def decoded(
    sources: Iterable[Source], decode: Callable[[Source], Row], batch: int
) -> Generator[list[tuple[Source, Row | Unreadable]]]:
    """Batches of (source, what `decode` made of it or why it could not), threads working two batches ahead.

    Closing the generator drops what waits and ends the threads. Raises SensoriumError where `batch` is below 1.
    """
    if batch < 1:
        raise SensoriumError(f"batch={batch}: must be 1 or more")
    workers = max(2, cpu_count() or 2)
    todo = iter(sources)
    pending: deque[tuple[Source, Future[Row]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode", initializer=stand_back) as pool:
        try:
            while True:
                for source in islice(todo, 3 * batch - len(pending)):
                    pending.append((source, pool.submit(decode, source)))
                if not pending:
                    return
                block = [pending.popleft() for _ in range(min(batch, len(pending)))]
                yield [(source, _outcome(future)) for source, future in block]
        finally:
            for _, future in pending:
                future.cancel()


def stand_back() -> None:
    """Let this thread take what the model leaves: a core that is taken from a product holds up all the others."""
    if sys.platform == "linux":  # where every thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _outcome(future: Future[Row]) -> Row | Unreadable:
    try:
        return future.result()
    except Unreadable as error:
        return error
