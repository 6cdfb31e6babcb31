"""Models without numbers: only names and shapes, to be filled from a checkpoint or counted."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialValues(TorchFunctionMode):
    """Leaves out what `torch.nn.init` would draw.

    Random numbers on the meta device are made by torch's Python references, whose first use imports sympy and
    torch._dynamo: two seconds before the first weight is read.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def blank() -> Generator[None]:
    """Modules built inside lie on the meta device: they take no memory, and no initial values are drawn."""
    with torch.device("meta"), _NoInitialValues():
        yield
