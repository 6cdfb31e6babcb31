"""Settings as people type them and as files keep them: `--set key=value` by the types of a dataclass's fields."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from sensorium.data.errors import SensoriumError

S = TypeVar("S")


class Unfit(SensoriumError):
    """A setting that does not exist or does not fit its type."""


def changed(values: S, changes: Iterable[tuple[str, str]]) -> S:
    """A dataclass with some fields set from text: ("width", "64"), ("model.vision.patch", "8"), ("betas", "0.9,0.98").

    Raises Unfit, which lists the fields there are, or names the type that is wanted.
    """
    for key, text in changes:
        values = _changed(values, key.split("."), text, key)
    return values


def has(values: object, key: str) -> bool:
    """Whether a dataclass has the field that a dotted key begins with."""
    return key.split(".")[0] in fields(values)


def fields(values: object) -> dict[str, Any]:
    """The types of a dataclass's fields by name."""
    kind = values if isinstance(values, type) else type(values)
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]


def described(values: object) -> str:
    """The fields of a dataclass, one a line: name, type, value."""
    return "\n".join(
        f"  {name}={_shown(getattr(values, name))}  ({_named(kind)})" for name, kind in fields(values).items()
    )


def to_json(value: Any) -> Any:
    """A settings value as JSON keeps it."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {name: to_json(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def from_json(kind: Any, value: Any, where: str = "settings") -> Any:
    """The value of type `kind` that `to_json` made this of. Raises Unfit where it is none."""
    if dataclasses.is_dataclass(kind):
        known = fields(kind)
        if not isinstance(value, dict) or set(value) != set(known):
            difference = sorted(set(value) ^ set(known)) if isinstance(value, dict) else value
            raise Unfit(f"{where} do not fit this version's {_named(kind)}: {difference}")
        return typing.cast(Any, kind)(**{k: from_json(known[k], v, f"{where}.{k}") for k, v in value.items()})
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for each in inner:
            try:
                return from_json(each, value, where)
            except Unfit:
                continue
        raise Unfit(f"{where}: {value!r} is no {_named(kind)}")
    if origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(from_json(each, v, where) for each, v in zip(kinds, value, strict=True))
    elif origin is Literal and value in inner:
        return value
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif kind is Any or (kind in (int, str, bool, type(None)) and type(value) is kind):
        return value
    raise Unfit(f"{where}: {value!r} is no {_named(kind)}")


def _changed(values: S, path: Sequence[str], text: str, key: str) -> S:
    known, (name, *rest) = fields(values), path
    if name not in known:
        raise Unfit(f"there is no setting {key!r}; there are:\n{described(values)}")
    inner = getattr(values, name)
    if rest and not dataclasses.is_dataclass(inner):
        raise Unfit(f"{key}: {name} has no fields; it is a {_named(known[name])}")
    new = _changed(inner, rest, text, key) if rest else parse(known[name], text, key)
    try:
        return dataclasses.replace(typing.cast(Any, values), **{name: new})
    except ValueError as error:  # what the dataclass itself has against it
        raise Unfit(f"{key}={text}: {error}") from error


_WORDS: Mapping[str, bool] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse(kind: Any, text: str, key: str) -> Any:
    """The value of type `kind` that `text` says. Raises Unfit."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if type(None) in inner and text.lower() in ("none", ""):
            return None
        for each in inner:
            try:
                return parse(each, text, key)
            except Unfit:
                continue
    elif origin is Literal:
        for each in inner:
            if str(each) == text:
                return each
    elif origin is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        kinds = [inner[0]] * len(parts) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(parts):
            return tuple(parse(each, part, key) for each, part in zip(kinds, parts, strict=True))
    elif kind is bool and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    elif kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    elif kind in (str, Path):
        return kind(text)
    raise Unfit(f"{key}={text}: wanted is {_named(kind)}")


def _named(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(str(each) for each in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_named(each) for each in inner)
    if origin is tuple:
        return ",".join("..." if each is Ellipsis else _named(each) for each in inner)
    return "none" if kind is type(None) else getattr(kind, "__name__", str(kind))


def _shown(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return "…"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
