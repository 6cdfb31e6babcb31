"""Numbers in files: whole, plain, and refused by name where they cannot be written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.numbers import numbers_of, write_numbers
from sensorium.insight.positions import similarity_of

NUMBERS = {"model": "vit", "heads": torch.tensor([[1 / 3, 2.0]]), "gone": float("nan"), "files": ["a", "b"], "n": 3}


def test_json(tmp_path: Path) -> None:
    write_numbers(NUMBERS, tmp_path / "deep" / "n.json")
    read = json.loads((tmp_path / "deep" / "n.json").read_text())
    assert read == {"model": "vit", "heads": [[0.333333, 2.0]], "gone": None, "files": ["a", "b"], "n": 3}
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["n.json"]


def test_npz(tmp_path: Path) -> None:
    write_numbers(NUMBERS, tmp_path / "n.npz")
    with np.load(tmp_path / "n.npz", allow_pickle=False) as read:
        assert torch.equal(torch.from_numpy(read["heads"]), NUMBERS["heads"])  # type: ignore[arg-type]
        assert read["files"].tolist() == ["a", "b"]


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"n\.csv: name a \.json or \.npz file"):
        write_numbers(NUMBERS, tmp_path / "n.csv")
    (tmp_path / "file").touch()
    with pytest.raises(SensoriumError, match=r"cannot write .*n\.json"):
        write_numbers(NUMBERS, tmp_path / "file" / "n.json")


def test_fields_of_a_result() -> None:
    result = similarity_of(torch.randn(2, 2, 4))
    assert set(numbers_of(result)) == {"cosines", "neighbours", "same_row", "same_column", "elsewhere"}
    with pytest.raises(TypeError):
        numbers_of({"a": 1})
