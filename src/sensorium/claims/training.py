"""How a claim trains its models: by the recipes and the loop that users have, so that it can be interrupted too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sensorium.data.errors import SensoriumError, printable
from sensorium.training.loop import train
from sensorium.training.recipe import Engine, Recipe
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.settings import to_json
from sensorium.training.world import World

Record = Mapping[str, float]


def trained(
    recipe: Recipe, settings: object, folder: Path, *, bf16: bool, save_every: int = 500, keep: int = 2
) -> list[Record]:
    """Train to the end, or go on with what an earlier call left, and leave the model in evaluation mode; returns every
    step's metrics. Checkpoints stay as an `Engine` says. Raises SensoriumError where the folder holds a run with other
    settings."""
    run = RunFolder(folder)
    engine = Engine(precision="bf16" if bf16 else "fp32", log_every=50, save_every=save_every, keep=keep)
    config = {"recipe": folder.name, "settings": to_json(settings), "engine": to_json(engine)}
    if not run.config.exists():
        run.create(config)
    elif run.read_config() != config:
        raise SensoriumError(f"{printable(str(folder))} holds a run with other settings: name another --out")
    train(recipe, engine, run, World())
    recipe.model.eval()
    return list[Record](read_metrics(run))


def evaluated(records: Sequence[Record], metric: str, batch: int) -> tuple[list[float], list[float]]:
    """Pictures seen, and the metric, at every evaluation."""
    found = [record for record in records if f"evaluate/{metric}" in record]
    return [record["step"] * batch for record in found], [record[f"evaluate/{metric}"] for record in found]


def spent(x: Sequence[float], y: Sequence[float], level: float) -> float | None:
    """What it took to reach a level, between the two measurements around it; None where it was not reached."""
    before_x, before_y = 0.0, 0.0
    for now_x, now_y in zip(x, y, strict=True):
        if now_y >= level:
            return before_x + (now_x - before_x) * (level - before_y) / max(now_y - before_y, 1e-12)
        before_x, before_y = now_x, now_y
    return None
