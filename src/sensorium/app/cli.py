"""The `sensorium` command. Every subcommand's work stands in a module of its own, imported when it is called.

Exit codes: 0 done; 1 it could not be done, the reason is on standard error; 2 the command was not understood;
3 the search ran and found no good match; 130 interrupted; 141 the reader of the output went away.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from sensorium import __version__
from sensorium.app.console import stderr, stdout, tolerate_any_text
from sensorium.data.errors import SensoriumError, printable

DONE, FAILED, MISUSED, NO_MATCH, INTERRUPTED, READER_GONE = 0, 1, 2, 3, 130, 141

IndexFolder = Annotated[
    Path | None,
    Parameter(name="--index", help="Where the index lives. [default: $SENSORIUM_HOME/index, else your data folder]"),
]
Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print one JSON value and nothing else.")
]
Several = Parameter(negative="", show_default=False)
Switch = Parameter(negative="", show_default=False)

app = App(
    name="sensorium",
    version=f"sensorium {__version__}",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # main() has more to say of it
    help="""Find any picture with words, with another picture, or with both.

First index a folder, then ask:

sensorium index ~/Pictures
sensorium search "a cat on a sofa"
sensorium serve --open

Nothing leaves this machine. Every command's --help teaches it by example.
""",
    help_epilogue="""Exit codes: 0 done, 1 could not be done, 2 not understood, 3 no good match, 130 interrupted.
The index lives in $SENSORIUM_HOME/index when SENSORIUM_HOME is set.""",
)


@app.command(sort_key=1)
def index(
    *folders: Path,
    model: Annotated[str | None, Parameter(help="The model that understands the pictures. [default: pocket]")] = None,
    index: IndexFolder = None,
    unreadable: Annotated[bool, Switch] = False,
    retry: Annotated[bool, Switch] = False,
    json: Json = False,
) -> int:
    """Index every picture below one or more folders; again = only what changed.

    sensorium index ~/Pictures
    sensorium index ~/Pictures /media/camera
    sensorium index ~/Pictures --model clip-vit-b-32 --index ~/clip-index
    sensorium index --unreadable            which files could not be read, and why

    Renamed files are recognised and not embedded again. Interrupt it whenever
    you like: what is done stays done, and the same command goes on from there.
    An index belongs to one model; another model needs another --index.

    Parameters
    ----------
    folders
        Folders (or single pictures) to index.
    unreadable
        Index nothing; list every file that could not be read, with the reason.
    retry
        Try unreadable files again even though they have not changed.
    """
    from sensorium.app.indexing import index_folders, list_unreadable

    if unreadable:
        if folders:
            raise SensoriumError("--unreadable lists what is known and takes no folder: leave one of the two out")
        list_unreadable(index, as_json=json)
        return DONE
    if not folders:
        raise Misuse("which folder? For example: sensorium index ~/Pictures")
    index_folders(folders, model=model, folder=index, retry=retry, as_json=json)
    return DONE


@app.command(sort_key=2)
def search(
    *question: str,
    image: Annotated[tuple[str, ...], Several] = (),
    plus: Annotated[tuple[str, ...], Several] = (),
    minus: Annotated[tuple[str, ...], Several] = (),
    minus_image: Annotated[tuple[str, ...], Several] = (),
    k: Annotated[int, Parameter(name=["--k", "-k"])] = 12,
    sheet: Path | None = None,
    path: Path | None = None,
    since: str | None = None,
    until: str | None = None,
    taken_since: str | None = None,
    taken_until: str | None = None,
    index: IndexFolder = None,
    json: Json = False,
) -> int:
    """Find pictures by words, by example, or by both together.

    sensorium search "a cat on a sofa"
    sensorium search cat.jpg                       more like this picture
    sensorium search beach + cat.jpg - people      both, and away from people
    sensorium search beach --image cat.jpg --minus people      just the same
    sensorium search "beach + 2*sunset - people:0.5"           with weights
    sensorium search '"black - white" photograph'  quoted: nothing is special
    sensorium search "a red car" --sheet cars.png --since 2023 --path ~/Italy

    Each line shows rank, confidence, cosine and file. What falls below the
    cut-off of this question is dimmed; when everything does, there is no good
    match: the closest guesses are shown and the exit code is 3.

    Parameters
    ----------
    question
        Words and picture files, joined by + and -. The name of an existing picture stands for that picture.
    image
        A picture to be near to. May be repeated.
    plus
        Words to be near to. May be repeated.
    minus
        Words to steer away from. May be repeated.
    minus_image
        A picture to steer away from. May be repeated.
    k
        How many files to show.
    sheet
        Also draw the answer as a contact sheet into this file.
    path
        Only files at or below this folder.
    since
        Only files changed on or after this date: 2024, 2024-05 or 2024-05-17.
    until
        Only files changed on or before this date.
    taken_since
        Only photographs taken on or after this date, by the camera's clock.
    taken_until
        Only photographs taken on or before this date, by the camera's clock.
    """
    from sensorium.app import expression
    from sensorium.app.searching import moment, search_collection
    from sensorium.search.store import Filter

    terms = expression.parse(question)
    terms += [expression.picture(each) for each in image]
    terms += [expression.term(each, pictures=False) for each in plus]
    terms += [expression.term(each, -1.0, pictures=False) for each in minus]
    terms += [expression.picture(each, -1.0) for each in minus_image]
    if not terms:
        raise Misuse('what should it find? For example: sensorium search "a cat on a sofa"')
    if k < 1:
        raise Misuse("--k must be at least 1")
    where = Filter(
        below=path,
        modified_after=moment(since) if since else None,
        modified_before=moment(until, end=True) if until else None,
        taken_after=moment(taken_since) if taken_since else None,
        taken_before=moment(taken_until, end=True) if taken_until else None,
    )
    return DONE if search_collection(terms, folder=index, k=k, where=where, sheet=sheet, as_json=json) else NO_MATCH


@app.command(sort_key=3)
def classify(
    *files: Path,
    labels: str,
    template: Annotated[tuple[str, ...], Several] = (),
    model: str = "pocket",
    json: Json = False,
) -> int:
    """Say which of your labels fits each picture best, without any training.

    sensorium classify *.jpg --labels cat,dog,car
    sensorium classify shop.jpg --labels "bakery,book shop" --template "a photo of a {}"
    sensorium classify *.jpg --labels cat,dog --json > labels.json

    Percentages compare the given labels with one another only: a picture of
    none of them still gets one of them.

    Parameters
    ----------
    files
        Pictures, or folders of pictures.
    labels
        What to choose from, separated by commas.
    template
        A sentence with {} where the label goes; repeat it to average several. [default: a set that suits photographs]
    model
        The model that compares pictures with words.
    """
    from sensorium.app.classifying import classify_files

    if not files:
        raise Misuse("which pictures? For example: sensorium classify *.jpg --labels cat,dog,car")
    names = [each.strip() for each in labels.split(",") if each.strip()]
    return DONE if classify_files(files, names, templates=template, model=model, as_json=json) else FAILED


@app.command(sort_key=4)
def models(*, json: Json = False) -> int:
    """List every model: system, size, licence of its public weights, and where they come from.

    sensorium models
    sensorium models --json
    """
    from sensorium.app.listing import list_models

    list_models(as_json=json)
    return DONE


@app.command(sort_key=7)
def convert(model: str, into: Path, /, *, to: str) -> int:
    """Write a model's weights under the names of another library.

    sensorium convert ViT-B-32.pt clip-b32/ --to transformers
    sensorium convert ./my-vit vit-timm/ --to timm
    sensorium convert google/vit-base-patch16-224 vit/ --to official

    The family is recognised from the names in the file. What was written is
    read again and compared bit by bit.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    into
        The folder to write to.
    to
        official (the authors' own), transformers, timm, open_clip: whichever the family has.
    """
    from sensorium.app.weights import convert_model

    convert_model(model, into, to)
    return DONE


@app.command(sort_key=8)
def verify(model: str, /, *, json: Json = False) -> int:
    """Check that a model is what it claims to be, and that it computes right on this machine.

    sensorium verify clip-vit-b-32
    sensorium verify ./my-model --json

    Loads it (every name and shape must fit), compares what would be saved with
    the file, and compares each part with double precision and with attention
    spelled out. Shows size, licence and the results that its authors published.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    """
    from sensorium.app.weights import verify_model

    return DONE if verify_model(model, as_json=json) else FAILED


@app.command(sort_key=9)
def export(model: str, into: Path, /, *, to: Literal["onnx"] = "onnx") -> int:
    """Write a model for other runtimes: one ONNX file for every part that runs alone.

    sensorium export clip-vit-b-32 clip-onnx/
    sensorium export ./my-vit vit-onnx/ --to onnx

    Each file is run with onnxruntime and compared with torch before it is kept.
    Batch, text length and, for transformers, the picture's size are free.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    into
        The folder to write to.
    to
        The format.
    """
    from sensorium.app.weights import export_model

    export_model(model, into)
    return DONE


@app.command(sort_key=10)
def look(
    model: str,
    /,
    *files: Path,
    what: Literal["filters", "positions", "distance", "rollout", "similarity"],
    text: Annotated[tuple[str, ...], Several] = (),
    size: int | None = None,
    out: Path | None = None,
    data: Path | None = None,
) -> int:
    """Draw what a model learned, and where in your pictures it looks.

    sensorium look ./my-vit --what filters
    sensorium look ./my-vit --what positions --out positions.png
    sensorium look ./my-vit ~/Pictures --what distance --data distance.json
    sensorium look clip-vit-b-32 cat.jpg --what rollout
    sensorium look clip-vit-b-32 cat.jpg dog.jpg --what similarity \\
      --text "a photo of a cat" --text "a photo of a dog"

    filters      what the patch embedding responds to: its principal components
    positions    how alike the position embeddings are, patch by patch
    distance     how far each head looks, in pixels, averaged over the pictures
    rollout      where in each picture the output comes from, through all layers
    similarity   the cosine of every picture with every text

    The first four need a model that cuts pictures into patches: ViT, CLIP with
    a ViT, DINOv2, DINOv3 (which has no position embeddings), ImageBind.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    files
        Pictures, or folders of pictures; filters and positions need none.
    what
        What to look at.
    text
        For similarity: a text to compare the pictures with. May be repeated.
    size
        Show the pictures at this many pixels a side instead of the model's own.
    out
        The drawing: .png, .jpg, .svg or .pdf. [default: sensorium-WHAT.png, unless --data is given]
    data
        Also, or only, write the numbers: .json or .npz.
    """
    from sensorium.app.looking import look_into

    of_model = what in ("filters", "positions")
    if of_model and files:
        raise Misuse(f"--what {what} looks at the model alone: leave the pictures out")
    if not of_model and not files:
        raise Misuse(f"which pictures? For example: sensorium look {model} ~/Pictures --what {what}")
    if bool(text) != (what == "similarity"):
        raise Misuse("--text and --what similarity belong together: --what similarity --text 'a photo of a cat'")
    look_into(model, files, what=what, texts=text, size=size, out=out, data=data)
    return DONE


@app.command(sort_key=5)
def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open: Annotated[bool, Switch] = False,
    index: IndexFolder = None,
) -> int:
    """Open the index as a web page: search box, drop a picture, click for more like it.

    sensorium serve --open
    sensorium serve --port 8000 --index ~/clip-index

    Only this machine can reach the page, and only indexed pictures are shown.
    Stop it with Ctrl-C.

    Parameters
    ----------
    host
        Address to listen on. Anything but 127.0.0.1 lets others on your network see your pictures.
    port
        Port to listen on; 0 takes a free one.
    open
        Open the page in your browser.
    """
    from sensorium.app.serving import serve_index

    serve_index(index, host=host, port=port, browse=open)
    return DONE


@app.command(sort_key=6)
def demo(
    folder: Path | None = None,
    *,
    into: Path = Path("demo"),
    serve: bool | None = None,
    port: int = 7860,
) -> int:
    """Show the main job on real photographs, from start to finish, in a few minutes.

    sensorium demo                     photographs that Python packages carry
    sensorium demo ~/Pictures          your own
    sensorium demo --no-serve          do not end with the web page

    Indexes the photographs, answers several questions, draws a contact sheet,
    and ends with the page. Everything it makes lies in ./demo; your own index
    is not touched.

    Parameters
    ----------
    folder
        Your own folder of pictures.
    into
        Where the demo puts what it makes.
    serve
        End with the web page. [default: only at a terminal]
    port
        Port of the page; 0 takes a free one.
    """
    from sensorium.app.demo import run_demo

    run_demo(folder, into=into, serve=serve, port=port)
    return DONE


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

    A hundred samples, spread over the whole, are decoded. Exit code 1 when one
    of them cannot be.

    Parameters
    ----------
    place
        A folder, a file, a pattern in quotes, or the name of a set.
    """
    from sensorium.app.datasets import show_source

    return DONE if show_source(place, as_json=json) else FAILED


@app.command(sort_key=11)
def evaluate(
    model: str,
    protocol: Literal["zero-shot", "probe", "knn", "few-shot", "retrieval", "classify"],
    /,
    *,
    data: str,
    train: str | None = None,
    valid: str | None = None,
    labels: str | None = None,
    templates: str | None = None,
    dataset: str | None = None,
    shots: str = "5,10",
    draws: int = 3,
    k: Annotated[int, Parameter(name=["--k", "-k"])] = 20,
    keep: Path | None = None,
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    json: Json = False,
) -> int:
    """Measure a model as the papers do, beside the numbers that they published.

    sensorium evaluate clip-vit-b-32 zero-shot --data imagenet/val --labels imagenet --templates imagenet
    sensorium evaluate clip-vit-b-32 zero-shot --data pets --labels names.txt --dataset pets
    sensorium evaluate dinov2-vit-b-14 knn --train imagenet/train --data imagenet/val --keep features
    sensorium evaluate pocket probe --train flowers/train --data flowers/test
    sensorium evaluate vit-b-16-in21k few-shot --train train.csv --data test.csv --shots 1,5,10
    sensorium evaluate clip-vit-b-32 retrieval --data annotations/captions_val2017.json --dataset coco
    sensorium evaluate vit-b-16 classify --data imagenet/val

    Data is a folder with one folder a class; a table (.csv, .tsv, .jsonl) of path
    and label, or for retrieval path and caption; or whatever `train` takes: COCO
    captions, tars, Parquet, a set by its name. Pictures that cannot be read are
    counted and listed, and never stop the run.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    protocol
        zero-shot: labels as sentences. probe: logistic regression on features. knn: the nearest vote. few-shot: ridge
        regression from a few. retrieval: captions and pictures, both ways. classify: the model's own classes.
    data
        The pictures to be measured on.
    train
        The pictures to learn from: probe, knn and few-shot.
    valid
        Pictures on which the probe chooses its penalty. [default: a fifth of --train, held out]
    labels
        What the classes are called: a text file with a name a line in the order of the class folders, or lines of
        class, tab, name; or "imagenet". For classify: the names of the model's classes, in its order.
    templates
        Sentences with {} where the label goes, one a line; or "imagenet" for CLIP's eighty. [default: seven of them]
    dataset
        Which data set this is, for its own metric and what is published on it: imagenet, pets, voc2007, coco ...
    shots
        Pictures of each class that few-shot learns from.
    draws
        How often few-shot draws them anew; the mean is reported.
    k
        How many neighbours vote.
    keep
        A folder for features: a stopped run goes on from there, and another protocol need not compute them again.
    precision
        bf16 is faster where the hardware has it; published numbers are fp32 or fp16.
    """
    from sensorium.app.evaluating import Asked, evaluate_model

    few = [each.strip() for each in shots.split(",")]
    if not all(each.isdecimal() and int(each) for each in few):
        raise Misuse("--shots: whole numbers with commas between them, such as 5,10")
    if draws < 1 or k < 1:
        raise Misuse("--draws and --k must be at least 1")
    asked = Asked(
        protocol=protocol,
        data=data,
        train=train,
        valid=valid,
        labels=labels,
        templates=templates,
        dataset=dataset.lower() if dataset else None,
        shots=list(dict.fromkeys(map(int, few))),
        draws=draws,
        k=k,
        keep=keep.expanduser() if keep else None,
    )
    evaluate_model(model, asked, precision=precision, as_json=json)
    return DONE


@app.command(sort_key=13)
def claim(paper: str, /, *, quick: Annotated[bool, Switch] = False, out: Path | None = None, json: Json = False) -> int:
    """Re-run a paper's claim in miniature, and say honestly whether it holds there.

    sensorium claim vit
    sensorium claim clip --out runs/clip
    sensorium claim clip --quick          a minute: shows that it runs, judges nothing

    Trains from nothing on real drawings (sensorium data fetch emoji), measures,
    prints claim beside measurement, and leaves a picture and the numbers. About
    25 minutes on two cores. Interrupt it: the same command goes on.

    Parameters
    ----------
    paper
        vit or clip.
    quick
        Tiny models, hardly trained.
    out
        The folder for everything. [default: runs/claim-PAPER]
    """
    from sensorium.app.claiming import claim_paper

    claim_paper(paper, quick=quick, out=out, as_json=json)
    return DONE


class Misuse(SensoriumError):
    """The command line makes no sense as it stands; exit code 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Nothing but a defect of Sensorium shows a trace."""
    tolerate_any_text()
    # A lone "-" means "without" in a question, but reads as an option: the sign of arithmetic does not.
    words = ["−" if word == "-" else word for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        code = app(words, console=stdout(), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        _complain(f"{error}\nTry: sensorium {_command(words)}--help")
        return MISUSED
    except SensoriumError as error:
        _complain(str(error))
        return MISUSED if isinstance(error, Misuse) else FAILED
    except KeyboardInterrupt as error:
        _complain(str(error) or "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or closing it would complain once more
        return READER_GONE
    return code if isinstance(code, int) else DONE


def _command(words: Sequence[str]) -> str:
    return f"{words[0]} " if words and words[0] in app else ""


def _complain(message: str) -> None:
    console = stderr()
    lines = message.splitlines() or ["unknown error"]
    console.print("[bold red]sensorium:[/] ", end="")
    console.print("\n".join(printable(line) for line in lines), markup=False)
