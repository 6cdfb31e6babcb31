"""Other people's checkpoints, as tables that read both ways.

A row says (their name, our name, what happens to the tensor). `*` stands for one part of a name and is
carried across. Every key of theirs must match exactly one row, and every tensor of ours must be filled:
silent partial loading is this field's worst bug.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.data.errors import SensoriumError

State = dict[str, Tensor]


class CheckpointError(SensoriumError):
    """A checkpoint does not fit the model: the message names the tensors."""


@dataclass(frozen=True)
class Change:
    """What turns their tensor into ours (a list of several where one is cut up), and back."""

    ours: Callable[[Tensor], Sequence[Tensor]]
    theirs: Callable[[Sequence[Tensor]], Tensor]


def one_to_one(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]) -> Change:
    """A change of one tensor into one."""
    return Change(lambda t: [ours(t)], lambda ts: theirs(ts[0]))


SAME = one_to_one(lambda t: t, lambda t: t)
TRANSPOSE = one_to_one(lambda t: t.transpose(0, 1), lambda t: t.transpose(0, 1))
DROP_AXIS = one_to_one(lambda t: t[0], lambda t: t[None])  # theirs has a leading axis of one
ADD_AXIS = one_to_one(lambda t: t[None], lambda t: t[0])
SPLIT = Change(lambda t: t.reshape(3, -1, *t.shape[1:]).unbind(), lambda ts: torch.cat(list(ts)))  # a fused q, k, v


@dataclass(frozen=True)
class Row:
    """One line of a table. `ours` is None for a key that we know and do not need."""

    theirs: str
    ours: str | tuple[str, ...] | None
    change: Change = SAME

    @property
    def targets(self) -> tuple[str, ...]:
        """Our names: several where the tensor is cut up, none where it is dropped."""
        return () if self.ours is None else (self.ours,) if isinstance(self.ours, str) else self.ours


def under(theirs: str, ours: str, rows: Iterable[Row]) -> list[Row]:
    """The same rows below a prefix on each side."""
    return [
        Row(theirs + row.theirs, None if row.ours is None else tuple(ours + name for name in row.targets), row.change)
        for row in rows
    ]


def linear(theirs: str, ours: str) -> list[Row]:
    """Weight and bias of a layer that both sides keep alike (linear, norm, convolution)."""
    return [Row(f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]


def depth(state: Iterable[str], before: str, after: str = ".") -> int:
    """How many layers a checkpoint numbers from 0 after `before`; raises KeyError naming the first where none is."""
    layers = {key[len(before) :].split(after)[0] for key in state if key.startswith(before)}
    if not layers:
        raise KeyError(f"{before}0")
    return 1 + max(map(int, layers))


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", "([^./]+)"))


def _fill(name: str, parts: Iterable[str]) -> str:
    for part in parts:
        name = name.replace("*", part, 1)
    return name


def listing(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def to_ours(theirs: Mapping[str, Tensor], rows: Sequence[Row]) -> State:
    """Rename and reshape a whole checkpoint.

    Raises CheckpointError naming the keys that no single row matches, or a tensor too odd in shape for its row.
    """
    patterns = [(_pattern(row.theirs), row) for row in rows]
    ours: State = {}
    unknown: list[str] = []
    for key, tensor in theirs.items():
        hits = [(match.groups(), row) for pattern, row in patterns if (match := pattern.fullmatch(key))]
        if len(hits) != 1:
            unknown.append(key)
            continue
        parts, row = hits[0]
        if not row.targets:
            continue
        try:
            pieces = row.change.ours(tensor)
        except (RuntimeError, IndexError):
            raise CheckpointError(f"{key} has a shape that does not fit: {list(tensor.shape)}") from None
        for name, piece in zip(row.targets, pieces, strict=True):
            ours[_fill(name, parts)] = piece
    if unknown:
        raise CheckpointError(f"unknown names in the checkpoint: {listing(unknown)}")
    return ours


def to_theirs(ours: Mapping[str, Tensor], rows: Sequence[Row]) -> State:
    """The inverse of `to_ours`; raises CheckpointError naming tensors of ours that the table cannot express."""
    patterns = [(_pattern(row.targets[0]), row) for row in rows if row.targets]
    theirs: State = {}
    written: set[str] = set()
    for key in ours:
        for pattern, row in patterns:
            if match := pattern.fullmatch(key):
                names = [_fill(name, match.groups()) for name in row.targets]
                theirs[_fill(row.theirs, match.groups())] = row.change.theirs([ours[n] for n in names]).contiguous()
                written.update(names)
                break
    if left := [key for key in ours if key not in written]:
        raise CheckpointError(f"this naming has no place for: {listing(left)}")
    return theirs


def check(theirs: Mapping[str, Tensor], ours: State, wanted: Mapping[str, Tensor], rows: Sequence[Row]) -> None:
    """Raise CheckpointError naming every tensor that is missing, left over or of another shape, in their words."""
    missing = [key for key in wanted if key not in ours]
    extra = [key for key in ours if key not in wanted]
    other = [key for key in wanted if key in ours and ours[key].shape != wanted[key].shape]
    shapes: dict[str, str] = {}
    for key in [] if missing else other:
        name, row, parts = _origin(key, rows)
        whole = row.change.theirs([torch.empty(wanted[_fill(target, parts)].shape) for target in row.targets])
        shapes[name] = f"{name} is {list(theirs[name].shape)}, should be {list(whole.shape)}"
    words = [
        f"missing: {listing(their_names(missing, rows))}" if missing else "",
        f"not part of this model: {listing(their_names(extra, rows))}" if extra else "",
        f"of another shape: {listing(list(shapes.values()))}" if shapes else "",
    ]
    if any(words):
        raise CheckpointError("the checkpoint does not fit the model; " + "; ".join(word for word in words if word))


def their_names(keys: Iterable[str], rows: Sequence[Row]) -> list[str]:
    """How the checkpoint calls tensors of ours, each once."""
    return list(dict.fromkeys(_origin(key, rows)[0] for key in keys))


def _origin(key: str, rows: Sequence[Row]) -> tuple[str, Row, tuple[str, ...]]:
    """Their name of a tensor of ours, its row, and what stands for the stars; raises where no row makes it."""
    for row in rows:
        for target in row.targets:
            if match := _pattern(target).fullmatch(key):
                return _fill(row.theirs, match.groups()), row, match.groups()
    raise CheckpointError(f"this naming has no place for: {key}")
