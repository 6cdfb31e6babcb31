"""`sensorium embed`: the vectors of a whole collection into a folder, on this machine or on a cluster."""

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sensorium.app.commands import DONE, Json, app
from sensorium.app.console import count, duration, short, stderr, stdout, tell_unread, write_json
from sensorium.app.indexing import progress_bar

if TYPE_CHECKING:
    from sensorium.tasks.collection import Outcome


@app.command(sort_key=11)
def embed(
    data: str,
    /,
    *,
    out: Path,
    model: str = "pocket",
    what: Literal["embedding", "features"] = "embedding",
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    ray: Annotated[str | None, Parameter(show_default=False)] = None,
    json: Json = False,
) -> int:
    """Write the vectors of a whole collection to a folder, as Parquet; again embeds only what is missing.

    sensorium embed ~/Pictures --out vectors
    sensorium embed imagenet/train --model dinov2-vit-b-14 --what features --out features
    sensorium embed "shards/{000..123}.tar" --model clip-vit-b-32 --out vectors --ray auto

    The same picture has the same id in every run. Kill it whenever you like: what
    is finished is kept, nothing is lost and nothing stands there twice. A folder
    belongs to one model. Pictures that cannot be read are listed in it, too.

    `evaluate --keep FOLDER` takes the vectors from there; in Python,
    sensorium.tasks.embedded.read_embedded(FOLDER) reads them.

    Parameters
    ----------
    data
        A folder, or whatever `train` takes: tars, Parquet, tables, COCO's captions, a set by its name.
    out
        The folder for the vectors; a new one, or one that was begun.
    model
        A preset, a hub id, a folder or a weight file.
    what
        embedding: what `search` compares, of length 1. features: what probes and kNN read.
    precision
        bf16 is faster where the hardware has it; auto decides by that.
    ray
        Compute on a Ray cluster (pip install 'sensorium[ray]'): "auto" for the one that this machine belongs to, the
        host:port of its head, or "local" for one of this machine. All machines must share data, model and --out.
    """
    return embed_data(data, out.expanduser(), model, what, precision=precision, ray=ray, as_json=json)


def embed_data(
    data: str,
    out: Path,
    model: str,
    what: Literal["embedding", "features"],
    *,
    precision: Literal["fp32", "bf16", "auto"],
    ray: str | None,
    as_json: bool,
) -> int:
    """Embed and print the summary."""
    from sensorium.app.collection import load_model
    from sensorium.data.sources import open_source
    from sensorium.data.sources.arrow import need_pyarrow
    from sensorium.tasks.collection import embed_collection

    need_pyarrow()
    source = open_source(data)  # what is wrong with the data is said before a model is fetched
    out = out.absolute()
    run = None
    if ray is not None:
        from sensorium.tasks.on_ray import on_ray

        place = Path(model).expanduser()
        run = on_ray(str(place.absolute()) if place.exists() else model, ray)
    embedder = load_model(model, precision=precision)
    try:
        # Ray tells of machines that died on standard output, where only results belong.
        with progress_bar() as advance, redirect_stdout(sys.stderr) if ray else nullcontext():
            outcome = embed_collection(embedder, source, out, what, run=run, progress=advance)
    except KeyboardInterrupt:
        kept = f"interrupted: finished parts are kept in {short(out)}, and the same command goes on from there"
        raise KeyboardInterrupt(kept) from None
    if as_json:
        write_json({"folder": out, "model": embedder.name, "what": what, **_as_dict(outcome)})
    else:
        _print(outcome, out)
    return DONE


def _as_dict(outcome: "Outcome") -> dict[str, Any]:
    return {
        "computed": outcome.computed,
        "known": outcome.known,
        "repeated": outcome.repeated,
        "unreadable": [{"path": each.path, "reason": each.reason} for each in outcome.unreadable],
        "seconds": round(outcome.seconds, 3),
        "pictures_per_second": round(outcome.computed / outcome.seconds, 2),
    }


def _print(outcome: "Outcome", out: Path) -> None:
    console = stdout()
    said = [f"{outcome.computed:,} embedded" if outcome.computed else "nothing new"]
    said += [f"{outcome.known:,} known"] if outcome.known else []
    said += [f"{count(outcome.repeated, 'row')} of pictures that others show, too"] if outcome.repeated else []
    console.print(f"[mark]{short(out)}[/]: {', '.join(said)}")
    if outcome.computed:
        pace = outcome.computed / outcome.seconds
        console.print(f"[quiet]{duration(outcome.seconds)}, {pace:.1f} pictures per second")
    unread = f"{count(len(outcome.unreadable), 'picture')} could not be read"
    tell_unread(stderr(), outcome.unreadable, unread, f"{short(out)}/damaged-*.parquet, or --json")
