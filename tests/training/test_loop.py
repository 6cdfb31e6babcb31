"""The loop in one process: what it survives, where it stops, what it keeps, and that its ways of saving memory or time
change nothing."""

import errno
import io
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystem

from sensorium.data.errors import SensoriumError
from sensorium.training.loop import Stopped, train
from sensorium.training.recipe import Batch, Engine, Recipe
from sensorium.training.run_folder import Metrics, RunFolder, read_metrics
from sensorium.training.saving import found, read_weights
from sensorium.training.world import World
from tests.training import lines

ALONE = World()


def go(folder: Path, recipe: Recipe | None = None, /, engine: Engine | None = None, **settings: Any) -> RunFolder:
    run = RunFolder(folder)
    if not run.config.exists():
        run.create({"recipe": "line", "settings": {}, "engine": {}})
    recipe = recipe or lines.line(lines.Settings(**settings), ALONE)
    train(recipe, engine or Engine(save_every=3), run, ALONE)
    return run


def losses(run: RunFolder) -> list[float]:
    return [record["loss"] for record in read_metrics(run)]


def weights(run: RunFolder) -> dict[str, Tensor]:
    return read_weights(found(run)[-1])


def same(a: RunFolder, b: RunFolder) -> bool:
    ours, theirs = weights(a), weights(b)
    return losses(a) == losses(b) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return go(tmp_path_factory.mktemp("whole") / "run")


def test_it_learns_and_a_teacher_follows(tmp_path: Path):
    run = go(tmp_path / "run", steps=200, rate=0.05, drop=0.0)
    assert losses(run)[-1] < 0.3 * losses(run)[0]
    end = weights(run)
    assert torch.dist(end["teacher.cls"], end["student.cls"]) < 0.1
    assert not torch.equal(end["teacher.cls"], end["student.cls"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves(tmp_path: Path, whole: RunFolder, number: int):
    recipe = lines.line(lines.Settings(), ALONE)
    recipe.data.before = lambda step: os.kill(os.getpid(), number) if step == 4 else None
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=r"stopped after step 5.*sensorium train --resume .*run") as stopped:
        go(tmp_path / "run", recipe)
    assert stopped.value.signal == number
    assert signal.getsignal(number) is before
    assert [path.name for path in found(RunFolder(tmp_path / "run"))] == ["step-00000003", "step-00000005"]
    assert same(go(tmp_path / "run"), whole)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """An interrupt is an exception, also where the tests run in a shell's background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_ends_at_once(tmp_path: Path):
    recipe = lines.line(lines.Settings(), ALONE)

    def losses_(batch: Batch, step: int) -> dict[str, Tensor]:
        if step == 4:
            for _ in range(2):  # one after the other: two that are sent at once may arrive as one
                signal.raise_signal(signal.SIGINT)
        return recipe.losses(batch, step)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", replace(recipe, losses=losses_))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(tmp_path: Path):
    with pytest.raises(SensoriumError) as error:
        go(tmp_path / "run", spoil=7)
    kept = tmp_path / "run" / "stopped" / "step-00000007-process-0.safetensors"
    assert str(error.value).startswith(f"step 8: loss/fit, loss/small is not finite. The batch is kept in {kept}")
    assert load_file(kept)["x"].shape == (8, 6)
    assert load_file(kept)["x"][0].isnan().all()
    run = RunFolder(tmp_path / "run")
    assert len(losses(run)) == 7
    assert all(value.isfinite().all() for value in weights(run).values())
    assert same(go(tmp_path / "run"), go(tmp_path / "other")), "with the batch repaired it goes on"


def test_a_gradient_that_is_not_finite_stops_too(tmp_path: Path):
    recipe = lines.line(lines.Settings(drop=0.0), ALONE)
    gain = next(p for p in recipe.model.parameters() if p.ndim == 0)

    def cliff(batch: Batch, step: int) -> dict[str, Tensor]:
        return {**recipe.losses(batch, step), "cliff": (gain - gain.detach()).clamp(min=0).sqrt()}  # 0, slope inf

    with pytest.raises(SensoriumError, match=r"step 1: gradient is not finite"):
        go(tmp_path / "run", replace(recipe, losses=cliff))
    assert (tmp_path / "run" / "stopped" / "step-00000000-process-0.safetensors").exists()


class Full(io.FileIO):
    """A file on a disk that is full after a few bytes."""

    def write(self, data: Any) -> int:
        super().write(bytes(data)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The steps for whose checkpoints the disk is full."""
    steps: set[int] = set()
    real = FileSystem.create_stream

    def create_stream(self: FileSystem, path: Path, mode: str) -> Any:
        number = int(Path(path).parent.name.removeprefix("step-").removesuffix(".part"))
        return Full(path, mode) if number in steps else real(self, path, mode)

    monkeypatch.setattr(FileSystem, "create_stream", create_stream)
    return steps


def test_a_full_disk_is_survived(tmp_path: Path, whole: RunFolder, full: set[int], capsys: pytest.CaptureFixture[str]):
    full |= {6, 9}
    run = go(tmp_path / "run")
    said = capsys.readouterr().err
    assert "the checkpoint of step 6 could not be written: no space left on device" in said
    assert f"The last whole one is {run.checkpoints / 'step-00000003'}" in said
    assert same(run, whole)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-00000003", "step-00000012"]


def test_a_disk_full_at_the_end_says_so_and_keeps_the_last_checkpoint(tmp_path: Path, whole: RunFolder, full: set[int]):
    full |= {9, 12}
    with pytest.raises(SensoriumError, match=r"step 12 could not be written: no space left.*step-00000006.*--resume"):
        go(tmp_path / "run")
    full.clear()
    assert same(go(tmp_path / "run"), whole)


def test_metrics_on_a_full_disk(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.create({})
    metrics = Metrics(run, 0, tensorboard=False)
    metrics.file.close()
    metrics.file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(SensoriumError, match="no space left on device"):
        metrics.write({"step": 1})
    metrics.close()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["a bit", "the end", "a file", "the list", "the list's text"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, whole: RunFolder, damage: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(Stopped):
        go(tmp_path / "run", interrupt=7)
    run = RunFolder(tmp_path / "run")
    newest = found(run)[-1]
    shard, listed = next(newest.glob("*.safetensors")), newest / "checkpoint.json"
    if damage == "a bit":
        flip(shard)
    elif damage == "the end":
        os.truncate(shard, shard.stat().st_size // 2)
    elif damage == "a file":
        shard.unlink()
    elif damage == "the list":
        listed.unlink()
    else:
        listed.write_text("[")
    go(tmp_path / "run")
    assert f"{newest} is passed over" in capsys.readouterr().err
    starts = [json.loads(line) for line in (run.path / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 6]
    assert same(run, whole)


def test_metrics_go_on_after_the_last_whole_line(tmp_path: Path, whole: RunFolder):
    with pytest.raises(Stopped):
        go(tmp_path / "run", interrupt=7)
    run = RunFolder(tmp_path / "run")
    (run.checkpoints / "step-00000099.part").mkdir()
    with run.metrics.open("a") as file:
        file.write('{"step": 9, "loss": 1.0}\n{"step": 10, "lo')  # what a kill leaves
    assert same(go(tmp_path / "run"), whole)
    assert not list(run.checkpoints.glob("*.part"))
    assert [record["step"] for record in read_metrics(run)] == list(range(1, 13))


def test_the_newest_and_the_best_stay(tmp_path: Path):
    run = go(tmp_path / "run", engine=Engine(save_every=1, keep=2), evaluate_every=2)
    assert [path.name for path in found(run)] == ["step-00000006", "step-00000011", "step-00000012"]
    scores = {record["step"]: record["evaluate/score"] for record in read_metrics(run) if "evaluate/score" in record}
    assert scores == {2: -4, 4: -2, 6: 0, 8: -2, 10: -4, 12: -6}
    run = go(tmp_path / "rarely", engine=Engine(save_every=0, keep=1), evaluate_every=2)
    assert [path.name for path in found(run)] == ["step-00000006", "step-00000012"], "the best is saved when it is met"


def test_no_pickle_in_the_folder(whole: RunFolder):
    files = [path for path in whole.path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors", ""}
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == "":
            assert (path.name, data) == ("lock", b"")
        else:
            for text in data.splitlines() if path.suffix == ".jsonl" else [data]:
                json.loads(text)
    assert not list(whole.path.rglob("*.part"))


def test_what_could_not_be_read_is_listed(whole: RunFolder):
    assert json.loads((whole.path / "damaged-0.json").read_text()) == {"row 3": "torn"}


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path):
    go(tmp_path / "run")
    with pytest.raises(
        SensoriumError, match=r"of another model: student\.blocks\.0\.map\.bias is \(6,\) there, \(7,\) here"
    ):
        go(tmp_path / "run", width=7)
    recipe = lines.line(lines.Settings(), ALONE)
    recipe.model.register_buffer("more", torch.zeros(1))
    with pytest.raises(SensoriumError, match=r"of another model: more is missing there, \(1,\) here"):
        go(tmp_path / "run", recipe)
    with pytest.raises(SensoriumError, match=r"of another optimiser: state\.student.* is \(6,\) there, missing here"):
        go(tmp_path / "run", optimiser="lamb")


def test_two_runs_do_not_share_a_folder(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.create({})
    with run.alone(), pytest.raises(SensoriumError, match="another process is training in"):
        go(tmp_path / "run")
    with pytest.raises(SensoriumError, match="holds a run already"):
        run.create({})


def tied(settings: lines.Settings, steps: int = 6) -> Recipe:
    """A weight in two places, one that is never used, one that is used from step 3 on, one frozen, running sums."""
    torch.manual_seed(0)
    a = nn.Linear(4, 4)
    b = nn.Linear(4, 4)
    b.weight = a.weight
    late, unused, frozen = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4)), nn.Linear(4, 4)
    norm = nn.BatchNorm1d(4)
    model = nn.ModuleDict({"a": a, "b": b, "frozen": frozen.requires_grad_(False), "norm": norm})
    model.register_parameter("late", late)
    model.register_parameter("unused", unused)

    def losses_(batch: Batch, step: int) -> dict[str, Tensor]:
        x = norm(b(torch.tanh(a(frozen(batch["x"])))))
        return {"all": (x + late if step >= 3 else x).square().sum(-1).mean() + x.mean()}

    recipe = lines.line(settings, ALONE)

    def row(position: int) -> dict[str, Tensor]:
        return {"x": torch.randn(4, generator=torch.Generator().manual_seed(position))}

    return replace(recipe, model=model, losses=losses_, data=lines.Rows(row), after_step=lambda step: None,
                   evaluate=None, steps=steps)  # fmt: skip


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "lars", "lamb"])
def test_tied_late_unused_and_frozen_weights_resume_bit_by_bit(tmp_path: Path, optimiser: Any):
    settings = lines.Settings(optimiser=optimiser)
    go(tmp_path / "whole", tied(settings))
    recipe = tied(settings)
    recipe.data.before = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 1 else None
    with pytest.raises(Stopped):
        go(tmp_path / "run", recipe)
    go(tmp_path / "run", tied(settings))
    assert same(RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole"))
    assert weights(RunFolder(tmp_path / "run"))["norm.num_batches_tracked"] == 6


def close(a: RunFolder, b: RunFolder, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(losses(a), losses(b), rtol=tolerance, atol=1e-6)
    torch.testing.assert_close(weights(a), weights(b), rtol=tolerance, atol=1e-5)


def test_accumulation_equals_a_large_batch(tmp_path: Path):
    plain = go(tmp_path / "plain", drop=0.0)
    close(go(tmp_path / "parts", engine=Engine(save_every=3, accumulate=4), drop=0.0), plain)


def test_recomputed_activations_change_nothing(tmp_path: Path, whole: RunFolder):
    """Dropout included: the recomputation draws the same."""
    assert same(go(tmp_path / "run", engine=Engine(save_every=3, checkpoint_activations=True)), whole)


def test_clipping_bounds_the_step(tmp_path: Path):
    settings = {"optimiser": "sgd", "drop": 0.0, "steps": 3}
    plain, clipped = go(tmp_path / "plain", **settings), RunFolder(tmp_path / "clipped")
    go(clipped.path, engine=Engine(clip_norm=0.01), **settings)
    first = [read_metrics(run)[0]["gradient"] for run in (plain, clipped)]
    assert first[0] == first[1] > 1, "what is noted is the length before clipping"
    start = lines.line(lines.Settings(), ALONE).model.state_dict()

    def moved(run: RunFolder) -> float:
        return (
            sum(
                float((value - start[name]).square().sum()) for name, value in weights(run).items() if "student" in name
            )
            ** 0.5
        )

    assert moved(clipped) < 0.1 * moved(plain)


def test_parts_are_clipped_apart(tmp_path: Path):
    recipe = lines.line(lines.Settings(drop=0.0, optimiser="sgd"), ALONE)
    student = recipe.model["student"]
    parts = [student.blocks[0], student.blocks[1]]
    start = [part.map.bias.detach().clone() for part in parts]
    rate = {"learning_rate": torch.ones(1, dtype=torch.float64)}

    def losses_(batch: Batch, step: int) -> dict[str, Tensor]:
        return {"sum": 3 * parts[0].map.bias[0] + 4 * parts[1].map.bias[0]}

    recipe = replace(recipe, losses=losses_, schedule=rate, steps=1, clip_norm=9.0, clipped=lambda model: parts)
    run = go(tmp_path / "run", recipe, engine=Engine(clip_norm=0.5))
    sizes = [float((part.map.bias.detach() - before).norm()) for part, before in zip(parts, start, strict=True)]
    assert sizes == [pytest.approx(0.5), pytest.approx(0.5)]
    assert read_metrics(run)[0]["gradient"] == pytest.approx(5.0)


def test_bf16_computes_in_bf16_and_keeps_fp32(tmp_path: Path):
    recipe = lines.line(lines.Settings(drop=0.0), ALONE)
    seen: set[torch.dtype] = set()
    block = next(iter(recipe.blocks(recipe.model)))
    block.map.register_forward_hook(lambda module, rows, out: seen.add(out.dtype))
    run = go(tmp_path / "run", recipe, engine=Engine(precision="bf16"))
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in weights(run).values()} == {torch.float32}
    plain = go(tmp_path / "plain", drop=0.0)
    assert losses(run) != losses(plain)
    torch.testing.assert_close(losses(run), losses(plain), rtol=0.05, atol=0.05)


def test_evaluation_is_without_gradients_and_leaves_the_modes(tmp_path: Path):
    recipe = lines.line(lines.Settings(steps=2), ALONE)
    recipe.model["teacher"].eval()
    seen: list[tuple[bool, bool]] = []

    def evaluate(done: int) -> dict[str, float]:
        seen.append((torch.is_grad_enabled(), recipe.model["student"].training))
        return {}

    go(tmp_path / "run", replace(recipe, evaluate=evaluate))
    assert seen == [(False, False)]
    assert recipe.model["student"].training
    assert not recipe.model["teacher"].training


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 9}, "batch 9 does not divide into 1 processes times accumulate 2: take a multiple of 2"),
        ({"steps": 13}, "schedule 'learning_rate' has 12 values for 13 steps"),
        ({"schedule": {}}, "lacks 'learning_rate'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, wrong: dict[str, Any], message: str):
    with pytest.raises(SensoriumError, match=message):
        go(tmp_path / "run", replace(lines.line(lines.Settings(), ALONE), **wrong), engine=Engine(accumulate=2))


def test_data_that_end_early_are_an_error(tmp_path: Path):
    recipe = lines.line(lines.Settings(), ALONE)

    class Short(lines.Rows):
        def batches(self, batch: int, **where: Any) -> lines.Rows:
            return super().batches(batch, **{**where, "steps": 5})

    with pytest.raises(SensoriumError, match="the data ended after 5 of 12 steps"):
        go(tmp_path / "run", replace(recipe, data=Short(recipe.data.row)))


def test_lines_where_nobody_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    go(tmp_path / "run", engine=Engine(log_every=5))
    said = capsys.readouterr().err.splitlines()
    shown = [line.split("  ")[0] for line in said]
    assert shown == ["step 1/12", "step 5/12", "step 10/12", "step 12/12", "step 12/12"]
    assert "samples/s" in said[1]
    assert "left" in said[1]


def test_tensorboard_goes_on_without_doubles(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    engine = Engine(save_every=3, tensorboard=True)
    with pytest.raises(Stopped):
        go(tmp_path / "run", engine=engine, interrupt=4)
    run = go(tmp_path / "run", engine=engine)
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    curve = [(event.step, pytest.approx(event.value)) for event in events.Scalars("loss/fit")]
    assert curve == [(record["step"], record["loss/fit"]) for record in read_metrics(run)]
