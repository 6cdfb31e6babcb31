"""The commands about models themselves: which there are, and their weights checked and written anew."""

from pathlib import Path
from typing import Literal

from sensorium.app.commands import DONE, FAILED, Json, app


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
