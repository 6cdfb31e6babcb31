"""After any kill, the numbers that there would have been: SIGKILL in processes of their own, one and two."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.saving import found, read_weights
from tests.training.processes import go, go_and_kill

KILLED = -9


def losses(folder: Path) -> list[tuple[float, float]]:
    records = read_metrics(RunFolder(folder))
    assert [record["step"] for record in records] == list(range(1, len(records) + 1)), "every step once"
    return [(record["loss"], record["gradient"]) for record in records]


def weights(folder: Path) -> dict[str, Tensor]:
    return read_weights(found(RunFolder(folder))[-1])


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def said(folder: Path, rank: int = 0) -> str:
    return folder.with_suffix(f".{rank}.log").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs that nobody killed, by their number of processes."""
    folders = {n: tmp_path_factory.mktemp("whole") / f"{n}" for n in (1, 2)}
    for n, folder in folders.items():
        assert go(folder, processes=n) == [0] * n, said(folder)
    return folders


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_goes_on_bit_by_bit(tmp_path: Path, whole: dict[int, Path], processes: int):
    folder = tmp_path / "run"
    for step in (2, 7, 11):  # before the first checkpoint, between two, before the last
        assert KILLED in go(folder, processes=processes, kill=step)
    assert go(folder, processes=processes) == [0] * processes, said(folder)
    assert losses(folder) == losses(whole[processes])
    assert equal(weights(folder), weights(whole[processes]))


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_any_moment(tmp_path: Path, processes: int):
    """Also while a checkpoint is being written: here there is one after every step."""
    plain, folder = tmp_path / "plain", tmp_path / "run"
    assert go(plain, processes=processes, steps=30) == [0] * processes, said(plain)
    assert go_and_kill(folder, random.Random(processes), processes=processes, steps=30) > 1
    assert losses(folder) == losses(plain)
    assert equal(weights(folder), weights(plain))


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_resumed_on_another_number_of_processes(tmp_path: Path, whole: dict[int, Path], before: int, after: int):
    plain, folder = tmp_path / "plain", tmp_path / "run"
    assert go(plain, drop=0.0) == [0], said(plain)  # dropout differs from process to process
    assert KILLED in go(folder, processes=before, kill=7, drop=0.0)
    assert go(folder, processes=after, drop=0.0) == [0] * after, said(folder)
    torch.testing.assert_close(losses(folder), losses(plain), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights(folder), weights(plain), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("optimiser", "engine"),
    [
        ("adamw", {"clip_norm": 0.5}),
        ("lars", {"accumulate": 2}),
        ("lamb", {"checkpoint_activations": True}),
    ],
)
def test_two_processes_train_as_one(tmp_path: Path, optimiser: str, engine: dict[str, Any]):
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        codes = go(folder, processes=processes, drop=0.0, evaluate_every=5, optimiser=optimiser, engine=engine)
        assert codes == [0] * processes, said(folder)
    torch.testing.assert_close(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights(tmp_path / "2"), weights(tmp_path / "1"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk", [0, 2])
def test_a_clip_on_two_processes_contrasts_the_whole_batch(tmp_path: Path, chunk: int):
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        engine = {"checkpoint_activations": True} if chunk else {}
        codes = go(folder, "clip", processes=processes, steps=4, rate=0.1, chunk=chunk, engine=engine)
        assert codes == [0] * processes, said(folder)
    torch.testing.assert_close(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights(tmp_path / "2"), weights(tmp_path / "1"), rtol=1e-4, atol=1e-5)


def test_two_processes_stop_together(tmp_path: Path):
    """A loss that is not finite on one process, and a signal to one, stop both after the same step."""
    folder = tmp_path / "spoilt"
    assert go(folder, processes=2, spoil=4) == [1, 1]
    assert "step 5: loss/fit, loss/small is not finite" in said(folder)
    kept = sorted(path.name for path in (folder / "stopped").iterdir())
    assert kept == ["step-00000004-process-0.safetensors"]
    folder = tmp_path / "interrupted"
    assert go(folder, processes=2, interrupt=4) == [1, 1]
    assert "stopped after step 5; everything is saved" in said(folder)
    assert found(RunFolder(folder))[-1].name == "step-00000005"
