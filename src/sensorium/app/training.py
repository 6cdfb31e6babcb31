"""`sensorium train`: from words on the command line to a run, and back to a run that was stopped."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch

from sensorium.app.console import short, stderr, stdout, write_json
from sensorium.data.errors import SensoriumError, printable
from sensorium.training.loop import Stopped, train
from sensorium.training.recipe import Engine, Recipe
from sensorium.training.recipes import RECIPES
from sensorium.training.run_folder import RunFolder
from sensorium.training.settings import Unfit, changed, described, from_json, has, parse, to_json
from sensorium.training.settings import fields as fields_of
from sensorium.training.sharding import whole_weights
from sensorium.training.world import World, start


@dataclass(frozen=True)
class Found:
    """A recipe by its name: the function, and the dataclass of its settings."""

    name: str
    make: Callable[[Any, World], Recipe]
    settings: type


def find(name: str) -> Found:
    """A recipe of Sensorium, or anybody's "module:function". Raises SensoriumError where there is none."""
    module, _, function = RECIPES.get(name, name).partition(":")
    if not function:
        known = ", ".join(RECIPES) or "none yet"
        raise SensoriumError(f"there is no recipe {name!r}; there are: {known}. Your own is named module:function")
    if name not in RECIPES and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        make = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise SensoriumError(f"{name}: there is no module {error.name}") from error
    except AttributeError as error:
        raise SensoriumError(f"{name}: {module} has no {function}") from error
    settings = get_type_hints(make).get("settings") or next(iter(get_type_hints(make).values()), None)
    if not isinstance(settings, type) or not hasattr(settings, "__dataclass_fields__"):
        raise SensoriumError(f"{name}: a recipe is function(settings: a dataclass, world: World) -> Recipe")
    return Found(name, make, settings)


def show_recipe(name: str) -> None:
    """Print what a recipe says of itself, and every setting with its default."""
    found = find(name)
    stdout().print(inspect.getdoc(found.make) or "", markup=False)
    stdout().print(f"\nsettings:\n{described(found.settings())}\n\nengine:\n{described(Engine())}", markup=False)


def train_recipe(name: str, *, data: Sequence[str], changes: Sequence[str], folder: Path | None, as_json: bool) -> int:
    """Begin a run; returns the exit code."""
    found = find(name)
    settings, engine = _with_changes(found.settings(), Engine(), changes)
    if data:
        if not has(settings, "data"):
            raise Unfit(f"{name} takes no --data; its settings are:\n{described(settings)}")
        settings = replace(settings, data=_data(settings, data))
    config = {"recipe": name, "settings": to_json(settings), "engine": to_json(engine)}

    def create(world: World) -> RunFolder:
        run = RunFolder(folder or _next(name))
        run.create(config)
        return run

    return _train(found, settings, engine, create, as_json, begins=True)


def resume_run(folder: Path, *, changes: Sequence[str], as_json: bool) -> int:
    """Go on with a run; only the engine can be changed. Returns the exit code."""
    run = RunFolder(folder)
    config = run.read_config()
    found = find(config["recipe"])
    where = f"{printable(str(run.config))}: settings"
    settings = from_json(found.settings, config["settings"], where)
    engine = from_json(Engine, config["engine"], f"{printable(str(run.config))}: engine")
    for change in changes:
        if has(settings, change.partition("=")[0]):
            raise SensoriumError(f"{change}: a run goes on with its own settings; begin another to change them")
    _, engine = _with_changes(None, engine, changes)
    return _train(found, settings, engine, lambda world: run, as_json)


def _with_changes(settings: Any, engine: Engine, changes: Sequence[str]) -> tuple[Any, Engine]:
    """Each key=value where it belongs: the recipe's settings first, then the engine's."""
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise Unfit(f"--set {change}: key=value is expected")
        if settings is not None and has(settings, key):
            settings = changed(settings, [(key, text)])
        elif has(engine, key):
            engine = changed(engine, [(key, text)])
        else:
            own = "" if settings is None else f"\n{described(settings)}"
            raise Unfit(f"there is no setting {key!r}; there are:{own}\n{described(engine)}")
    return settings, engine


def _data(settings: Any, given: Sequence[str]) -> Any:
    kind = fields_of(settings)["data"]
    if get_origin(kind) is tuple:
        return tuple(parse(get_args(kind)[0], each, "data") for each in given)
    if len(given) > 1:
        raise Unfit("this recipe takes one --data")
    return parse(kind, given[0], "data")


def _next(name: str) -> Path:
    """The first folder of runs/ that is free: runs/clip-1."""
    taken = (Path("runs") / f"{name.rpartition(':')[2]}-{number}" for number in count(1))
    return next(path for path in taken if not path.exists())


def _train(
    found: Found,
    settings: Any,
    engine: Engine,
    folder: Callable[[World], RunFolder],
    as_json: bool,
    *,
    begins: bool = False,
) -> int:
    with start(engine.device) as world:
        run: RunFolder | SensoriumError | None = None
        if world.rank == 0:
            try:
                run = folder(world)
            except SensoriumError as error:
                run = error  # for all processes: the others would wait for ever
        run = world.tell(run)
        if not isinstance(run, RunFolder):
            raise run or SensoriumError("no run")
        torch.manual_seed(getattr(settings, "seed", 0))
        try:
            recipe = found.make(settings, world)
        except SensoriumError:
            if world.rank == 0 and begins:
                run.abandon()
            raise
        if world.rank == 0:
            stderr().print(f"{found.name} into {short(run.path)}", markup=False)
        try:
            metrics = train(recipe, engine, run, world)
        except Stopped as stopped:
            if world.rank == 0:
                stderr().print(str(stopped), markup=False)
            return 128 + stopped.signal
        _export(found, settings, recipe, run, world)
        if world.rank == 0:
            _report(run, metrics, as_json)
    return 0


def _export(found: Found, settings: Any, recipe: Recipe, run: RunFolder, world: World) -> None:
    """Write what was learned to the run's folder, as `sensorium.load` reads it; its weights may be spread over all
    processes, so the first one gathers them into a recipe of its own."""
    if recipe.export is None:
        return
    weights = whole_weights(recipe.model)
    if world.rank == 0:
        alone = recipe if world.size == 1 else found.make(settings, World())
        alone.model.cpu().load_state_dict(weights)
        assert alone.export is not None
        alone.export(run.path / "model")


def _report(run: RunFolder, metrics: dict[str, float], as_json: bool) -> None:
    if as_json:
        write_json({"run": run.path, **metrics})
        return
    shown = [name for name in metrics if name == "loss" or name.startswith("evaluate/")]
    numbers = "  ".join(f"{name.removeprefix('evaluate/')} {metrics[name]:.4f}" for name in shown)
    if (run.path / "model").is_dir():
        numbers += f"  the model is in {short(run.path / 'model')}"
    stdout().print(f"{short(run.path)}: {metrics['step']:.0f} steps  {numbers}", markup=False)
    for file in sorted(run.path.glob("damaged-*.json")):
        stderr().print(f"what could not be read, and why, is in {short(file)}", markup=False)
