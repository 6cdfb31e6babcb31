"""The commands of those who train and look into models: data, train, look, claim; `evaluate` has its own module."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from sensorium.app.commands import DONE, FAILED, Json, Misuse, Several, Switch, app

data = App(name="data", help="Sets of pictures to train and measure with, and what stands at a path.", sort_key=10)
app.command(data)


@data.command(name="list")
def list_data(*, json: Json = False) -> int:
    """List the sets that can be fetched: samples, size, licence, and which are here.

    sensorium data list
    sensorium data list --json
    """
    from sensorium.app.datasets import list_sets

    list_sets(as_json=json)
    return DONE


@data.command(name="fetch")
def fetch_data(name: str, /) -> int:
    """Fetch a set into your cache. Its licence is shown first.

    sensorium data fetch emoji
    sensorium data fetch mnist

    Every download is pinned and checked. What is here already is kept, so an
    interrupted fetch goes on from there. The cache is $SENSORIUM_CACHE, else
    your own cache folder.

    Parameters
    ----------
    name
        One of those that `sensorium data list` shows.
    """
    from sensorium.app.datasets import fetch_set

    fetch_set(name)
    return DONE


@data.command(name="show")
def show_data(place: str, /, *, json: Json = False) -> int:
    """Say what training data stands at a path: its kind, its first samples, and what is wrong with it.

    sensorium data show ~/imagenet/train
    sensorium data show captions.jsonl
    sensorium data show "shards/{000..123}.tar"
    sensorium data show emoji
    sensorium data show ~/VOCdevkit/VOC2012

    A hundred samples, spread over the whole, are decoded; of a set with a truth
    at every pixel, boxes or points, 25, and held against it. Exit code 1 when
    one of them cannot be read or does not fit.

    Parameters
    ----------
    place
        A folder, a file, a pattern in quotes, or the name of a set.
    """
    from sensorium.app.datasets import show_source

    return DONE if show_source(place, as_json=json) else FAILED


@app.command(sort_key=10)
def train(
    recipe: str | None = None,
    *,
    data: Annotated[tuple[str, ...], Several] = (),
    set: Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=True)] = (),
    run: Annotated[Path | None, Parameter(name=["--run", "--into"])] = None,
    resume: Path | None = None,
    show: Annotated[bool, Switch] = False,
    json: Json = False,
) -> int:
    """Train a model by its recipe; after any interruption, go on as if there had been none.

    sensorium train clip --data pairs.jsonl --set batch=1024 epochs=3 --run runs/a
    sensorium train --resume runs/a
    sensorium train clip --show             what it costs, scores, and can be set to
    torchrun --nproc-per-node 8 -m sensorium train clip --data pairs.jsonl --into runs/b

    The run's folder holds its settings, every step's metrics, and checkpoints.
    Ctrl-C finishes the step and saves. It may be resumed on another number of
    processes, and with another engine: --set workers=4.

    Parameters
    ----------
    recipe
        A recipe's name, or your own function as module:function.
    data
        What to train on, as the recipe's --show says. May be repeated.
    set
        key=value, one or more: settings of the recipe or of the engine (precision, accumulate, workers ...).
    run
        The folder of the run; torchrun mistakes --run for an option of its own, so say --into there. [default:
        runs/RECIPE-1, or the next that is free]
    resume
        The folder of a run to go on with.
    show
        Train nothing; print what the recipe says of itself and all settings.
    """
    if resume is not None and (recipe is not None or data or run is not None):
        raise Misuse("--resume goes on with a run as it is: only --set can stand beside it")
    if resume is None and recipe is None:
        from sensorium.training.recipes import RECIPES

        known = f" There are: {', '.join(RECIPES)}." if RECIPES else ""
        raise Misuse(f"which recipe?{known} For example: sensorium train clip --data pairs.jsonl")
    from sensorium.app.training import resume_run, show_recipe, train_recipe

    if resume is not None:
        return resume_run(resume, changes=set, as_json=json)
    if show:
        show_recipe(recipe or "")
        return DONE
    return train_recipe(recipe or "", data=data, changes=set, folder=run, as_json=json)


@app.command(sort_key=10)
def look(
    model: str,
    /,
    *files: Path,
    what: Literal[
        "attention",
        "pca",
        "cosine",
        "norms",
        "gram",
        "filters",
        "positions",
        "distance",
        "rollout",
        "similarity",
        "panel",
        "map",
    ],
    at: str | None = None,
    layer: int | None = None,
    cutoff: float | None = None,
    register_neurons: int | None = None,
    against: Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=True)] = (),
    frames: int = 12,
    text: Annotated[tuple[str, ...], Several] = (),
    query: str | None = None,
    index: Path | None = None,
    size: int | None = None,
    out: Path | None = None,
    data: Path | None = None,
) -> int:
    """Draw what a model learned, and what it sees in your pictures and films, or hears in your sounds.

    sensorium look ./my-vit cat.jpg --what attention
    sensorium look ./my-vit film.mp4 --what attention --frames 48 --out attention.gif
    sensorium look pocket ~/Pictures/cats --what pca
    sensorium look ./my-dinov3 cat.jpg dog.jpg --what cosine --at 320,200 --size 768
    sensorium look ./my-dinov2 ~/Pictures --what norms --data norms.npz
    sensorium look ./my-dinov2 ~/Pictures --what attention --register-neurons 50
    sensorium look ./begun ~/Pictures --what gram --against ./later ./last
    sensorium look ./my-vit --what filters
    sensorium look ./my-vit ~/Pictures --what distance --data distance.json
    sensorium look clip-vit-b-32 cat.jpg dog.jpg --what similarity \\
      --text "a photo of a cat" --text "a photo of a dog"
    sensorium look imagebind-huge pictures --what similarity --against sounds
    sensorium look imagebind-huge ~/Everything --what panel --query bark.wav
    sensorium look imagebind-huge ~/Everything --what map --out map.svg

    attention    what the class token and each register look at, head by head
    pca          places as colours: three principal components, without the ground
    cosine       what is like one place (--at x,y) of the first picture, in all
    norms        how long the patches' tokens are, layer by layer, and outliers
    gram         how patches' likeness changes from one checkpoint to others
    filters      what the patch embedding responds to: its principal components
    positions    how alike the position embeddings are, patch by patch
    distance     how far each head looks, in pixels, averaged over the pictures
    rollout      where in each picture the output comes from, through all layers
    similarity   the cosine of every file with every text, or with other files
    panel        the nearest of every sense to one question
    map          all files in a plane, coloured by sense, and the senses' gap

    The first five see whole pictures of any size, and frames of films. They
    need a model that cuts pictures into patches: ViT, CLIP with a ViT, DINOv2,
    DINOv3, ImageBind; pca, cosine and gram read `pocket` and ResNets, too. The
    last three take in files of every kind that the model has a sense for.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    files
        Pictures, folders of pictures, films; for the last three, files of any kind and folders of them. filters and
        positions need none.
    what
        What to look at.
    at
        The place: x,y in the picture's pixels (320,200), or fractions of its sides (0.5,0.25). [default for gram: the
        middle]
    layer
        After which layer: 1 is the first, -1 the last. [default: the last, normed]
    cutoff
        For norms: the norm above which a token is an outlier. [default: three times the median of the layer]
    register_neurons
        For attention and norms: give the model a register that it never learned, and move to it so many neurons, those
        that are largest on the outliers of these pictures.
    against
        For gram: later checkpoints in their order; also a run's checkpoints/step-N. For similarity: the other files,
        folders of them too; those that are called the same make pairs (dog.jpg and dog.wav).
    frames
        How many frames of a film, evenly apart.
    text
        For similarity, panel and map: words among the things that are compared. May be repeated.
    query
        For panel: the question, as `search` takes it: a file of any kind, words, or a sum ("beach.jpg + waves.wav").
    index
        For panel: the folder of an index that this model made, in place of files.
    size
        Show the pictures at this many pixels: the short side, of squares both. [default: twice the model's own, of
        squares its own]
    out
        The drawing: .png, .jpg, .svg or .pdf; .gif or .mp4 for a film. [default: sensorium-WHAT.png, unless --data is
        given]
    data
        Also, or only, write the numbers: .json or .npz.
    """
    from sensorium.app.looking import DENSE, SPACE, Wanted, look_into

    of_model = what in ("filters", "positions")
    if of_model and files:
        raise Misuse(f"--what {what} looks at the model alone: leave the pictures out")
    if index is not None and (files or text):
        raise Misuse("--index stands in place of files and --text")
    if not of_model and not files and index is None:
        which = "files" if what in SPACE else "pictures"
        raise Misuse(f"which {which}? For example: sensorium look {model} ~/Pictures --what {what}")
    if what == "similarity" and not text and not against:
        raise Misuse("similar to what? --text 'a photo of a cat', or other files: --against ~/Sounds")
    if bool(against) != (what == "gram") and what != "similarity":
        raise Misuse("--against and --what gram belong together: --what gram --against LATER LAST")
    if (query is None) == (what == "panel"):
        raise Misuse("--query and --what panel belong together: --what panel --query bark.wav")
    if what == "cosine" and at is None:
        raise Misuse("which place? For example: --at 320,200 in pixels, or --at 0.5,0.25 of the picture's sides")
    for option, given, looks in (
        ("--at", at, ("cosine", "gram")),
        ("--text", text or None, SPACE),
        ("--index", index, ("panel",)),
        ("--layer", layer, DENSE),
        ("--cutoff", cutoff, ("norms",)),
        ("--register-neurons", register_neurons, ("attention", "norms")),
    ):
        if given is not None and what not in looks:
            raise Misuse(f"{option} goes with --what {', '.join(looks)}")
    if size is not None and what in SPACE:
        raise Misuse(f"--what {what} shows everything as the model takes it in: leave --size out")
    if frames < 1:
        raise Misuse("--frames must be at least 1")
    if register_neurons is not None and register_neurons < 1:
        raise Misuse("--register-neurons must be at least 1")
    wanted = Wanted(
        texts=text,
        size=size,
        layer=layer,
        at=at,
        cutoff=cutoff,
        against=against,
        query=query,
        index=index,
        frames=frames,
        neurons=register_neurons,
    )
    look_into(model, files, what=what, wanted=wanted, out=out, data=data)
    return DONE


@app.command(sort_key=13)
def claim(paper: str, /, *, quick: Annotated[bool, Switch] = False, out: Path | None = None, json: Json = False) -> int:
    """Re-run a paper's claim in miniature, and say honestly whether it holds there.

    sensorium claim vit
    sensorium claim clip --out runs/clip
    sensorium claim dinov3
    sensorium claim registers
    sensorium claim imagebind
    sensorium claim clip --quick          a minute: shows that it runs, judges nothing

    Trains from nothing on real drawings (sensorium data fetch emoji), cut-out
    photographs (things) or these with other senses (stamp-sounds, layers,
    exercises), measures, prints claim beside measurement, and leaves a
    picture and the numbers. Up to half an hour on two cores. Interrupt it: the
    same command goes on.

    Parameters
    ----------
    paper
        vit, clip, dinov3, registers or imagebind.
    quick
        Tiny models, hardly trained.
    out
        The folder for everything. [default: runs/claim-PAPER]
    """
    from sensorium.app.claiming import claim_paper

    claim_paper(paper, quick=quick, out=out, as_json=json)
    return DONE
