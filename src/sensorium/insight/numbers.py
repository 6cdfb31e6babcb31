"""What a look found, as data: for tables, for other drawings, for comparison."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sensorium.data.errors import SensoriumError, printable, system_reason

FORMATS = (".json", ".npz")


def numbers_of(result: Any) -> dict[str, Any]:
    """The fields of a result, by name: tensors, numbers, words."""
    if not is_dataclass(result):
        raise TypeError(f"{type(result).__name__} is no result of a look")
    return {field.name: getattr(result, field.name) for field in fields(result)}


def check_format(path: Path) -> None:
    """Raises SensoriumError unless the file's ending is one that `write_numbers` knows."""
    if path.suffix.lower() not in FORMATS:
        raise SensoriumError(f"cannot write numbers into {printable(str(path))}: name a .json or .npz file")


def write_numbers(numbers: Mapping[str, Any], path: Path) -> None:
    """Write tensors, numbers and words by name, whole or not at all.

    .json holds nested lists, six digits of each number, null for what is not defined; .npz holds arrays as they are.
    Raises SensoriumError when the file cannot be written or its ending is another one.
    """
    check_format(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".json":
            plain = {
                name: _plain(value.tolist() if isinstance(value, Tensor) else value) for name, value in numbers.items()
            }
            partial.write_text(json.dumps(plain, allow_nan=False) + "\n", encoding="utf-8")
        else:
            import numpy as np

            arrays = {
                name: value.numpy() if isinstance(value, Tensor) else np.asarray(value)
                for name, value in numbers.items()
            }
            with partial.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError as error:
        raise SensoriumError(f"cannot write {printable(str(path))}: {system_reason(error)}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
