"""VideoCLIP and VLM as fairseq's MMPT saves them, and the S3D that MIL-NCE published for HowTo100M."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints import bert
from sensorium.checkpoints.format import Axis, Call, Family, Format, Trunk
from sensorium.checkpoints.rename import CheckpointError, Row, depth, linear, under
from sensorium.models import s3d, videoclip, vlm
from sensorium.models.bert import BertConfig
from sensorium.models.s3d import S3D, S3DConfig
from sensorium.models.videoclip import VideoCLIP, VideoCLIPConfig
from sensorium.models.vlm import VLM, VLMConfig

File = Mapping[str, Any] | None

BERT = [
    Row("embeddings.position_ids", None),
    *under("embeddings.", "embedding.", bert.EMBEDDING),
    *under("encoder.layer.*.", "blocks.*.", bert.LAYER),
]
FRAME_MLP = [*linear("linear1", "up"), *linear("LayerNorm", "norm"), *linear("linear2", "out")]

VIDEO, TEXT, JOINT = "mmmodel.video_encoder.", "mmmodel.text_encoder.", "mmmodel.mm_encoder."
PREDICTIONS = f"{JOINT}cls.predictions."
MATRIX = f"{JOINT}bert.embeddings.word_embeddings.weight"


def videoclip_rows(c: VideoCLIPConfig) -> list[Row]:
    """MMFusionSeparate: two encoders."""
    return [
        *under(f"{VIDEO}videomlp.", "project.", FRAME_MLP),
        *under(f"{VIDEO}bert.", "video_bert.", BERT),
        *linear(f"{VIDEO}bert.pooler.dense", "video_pooler.project"),
        *under(TEXT, "text_bert.", BERT),
        *linear(f"{TEXT}pooler.dense", "text_pooler.project"),
    ]


def vlm_rows(c: VLMConfig) -> list[Row]:
    """MMFusion, MMFusionJoint, MMFusionShare, and the pretraining of MFMMLM and MTM: one encoder."""
    return [
        *under(f"{JOINT}videomlp.", "project.", FRAME_MLP),
        *under(f"{JOINT}bert.", "bert.", BERT),
        *linear(f"{JOINT}bert.pooler.dense", "pooler.project"),
        Row(f"{JOINT}bert.embeddings.seg_embeddings.weight", "slots"),
        *under(PREDICTIONS, "head.", bert.WORD_HEAD),
    ]


def vlm_tied(c: VLMConfig) -> dict[str, str]:
    """The word head's matrix is the word embedding, its bias has two names."""
    matrix = {f"{PREDICTIONS}decoder.weight": MATRIX}
    return {
        "none": {},
        "mtm": matrix,
        "mfm-mlm": matrix | {f"{PREDICTIONS}decoder.bias": f"{PREDICTIONS}bias"},
    }[c.head]


def _bert(state: Mapping[str, Tensor], stem: str, file: Mapping[str, Any]) -> BertConfig:
    activation = file.get("hidden_act", "gelu")
    if activation != "gelu":
        raise CheckpointError(f"config.json: hidden_act {activation!r} is not the one of BERT (gelu)")
    words, width = state[f"{stem}embeddings.word_embeddings.weight"].shape
    return BertConfig(
        width=width,
        depth=depth(state, f"{stem}encoder.layer."),
        heads=int(file.get("num_attention_heads", max(1, width // 64))),
        hidden=state[f"{stem}encoder.layer.0.intermediate.dense.bias"].shape[0],
        words=words,
        positions=state[f"{stem}embeddings.position_embeddings.weight"].shape[0],
        segments=state[f"{stem}embeddings.token_type_embeddings.weight"].shape[0],
        eps=float(file.get("layer_norm_eps", 1e-12)),
    )


def _ends(file: Mapping[str, Any]) -> dict[str, int]:
    stated = {"frames": ("max_video_len", 32), "cls": ("cls_token_id", 101), "sep": ("sep_token_id", 102)}
    return {ours: int(file.get(theirs, default)) for ours, (theirs, default) in stated.items()}


def videoclip_config(state: Mapping[str, Tensor], file: File) -> VideoCLIPConfig:
    """Sizes from the shapes; heads, the longest clip and the ids of its ends from config.json, else BERT's own."""
    c = file or {}
    return VideoCLIPConfig(
        text=_bert(state, TEXT, c),
        video_depth=depth(state, f"{VIDEO}bert.encoder.layer."),
        features=state[f"{VIDEO}videomlp.linear1.weight"].shape[1],
        **_ends(c),
    )


def vlm_config(state: Mapping[str, Tensor], file: File) -> VLMConfig:
    """Sizes from the shapes, the objective from the names; isolated layers and heads from config.json."""
    c = file or {}
    head = "none"
    if f"{PREDICTIONS}transform.dense.weight" in state:
        biased = f"{PREDICTIONS}bias" in state or f"{PREDICTIONS}decoder.bias" in state
        head = "mfm-mlm" if biased else "mtm"
    slots = state.get(f"{JOINT}bert.embeddings.seg_embeddings.weight")
    return VLMConfig(
        bert=_bert(state, f"{JOINT}bert.", c),
        features=state[f"{JOINT}videomlp.linear1.weight"].shape[1],
        isolated=int(c.get("num_iso_layer", 0)),
        head=head,
        slots=0 if slots is None else len(slots),
        **_ends(c),
    )


def _bert_json(b: BertConfig, c: VideoCLIPConfig | VLMConfig) -> dict[str, Any]:
    return {
        "vocab_size": b.words,
        "hidden_size": b.width,
        "num_hidden_layers": b.depth,
        "num_attention_heads": b.heads,
        "intermediate_size": b.hidden,
        "max_position_embeddings": b.positions,
        "type_vocab_size": b.segments,
        "layer_norm_eps": b.eps,
        "hidden_act": "gelu",
        "video_feature_size": c.features,
        "max_video_len": c.frames,
        "cls_token_id": c.cls,
        "sep_token_id": c.sep,
    }


def videoclip_json(c: VideoCLIPConfig) -> dict[str, Any]:
    """The sizes under the reference's names: what the weights do not show is read back from here."""
    return {**_bert_json(c.text, c), "num_hidden_video_layers": c.video_depth}


def vlm_json(c: VLMConfig) -> dict[str, Any]:
    """The sizes under the reference's names: what the weights do not show is read back from here."""
    return {**_bert_json(c.bert, c), "num_iso_layer": c.isolated}


def _convolution(theirs: str, ours: str, number: int = 1) -> list[Row]:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [
        Row(f"{theirs}.conv{number}.weight", f"{ours}.conv.weight"),
        *(Row(f"{theirs}.bn{number}.{part}", f"{ours}.norm.{part}") for part in norm),
    ]


def _separable(theirs: str, ours: str) -> list[Row]:
    return [*_convolution(theirs, f"{ours}.space", 1), *_convolution(theirs, f"{ours}.time", 2)]


MIXED = [
    *_convolution("conv_b0", "0.0"),
    *_convolution("conv_b1_a", "1.0"),
    *_separable("conv_b1_b", "1.1"),
    *_convolution("conv_b2_a", "2.0"),
    *_separable("conv_b2_b", "2.1"),
    *_convolution("conv_b3_b", "3.1"),
    *linear("gating_b0.fc", "0.1.project"),
    *(row for branch in (1, 2, 3) for row in linear(f"gating_b{branch}.fc", f"{branch}.2.project")),
]


def s3d_rows(c: S3DConfig) -> list[Row]:
    """s3d_howto100m.pth; the sentence tower may be left out."""
    return [
        *_convolution("conv1", "stem.convolution"),
        *_convolution("conv_2b", "point"),
        *_separable("conv_2c", "separable"),
        *linear("gating.fc", "gate.project"),
        *(row for name in s3d.MIXED for row in under(f"mixed_{name}.", f"mixed.{name}.branches.", MIXED)),
        *linear("fc", "project"),
        Row("text_module.word_embd.weight", "text.word.weight"),
        *linear("text_module.fc1", "text.up"),
        *linear("text_module.fc2", "text.out"),
    ]


def s3d_config(state: Mapping[str, Tensor], file: File) -> S3DConfig:
    """Every size stands in the shapes."""
    embed = state["fc.weight"].shape[0]
    words = state.get("text_module.word_embd.weight")
    if words is None:
        return S3DConfig(embed=embed, words=0)
    hidden = state["text_module.fc1.weight"].shape[0]
    return S3DConfig(embed=embed, words=words.shape[0], word_width=words.shape[1], hidden=hidden)


def towers_trunks(model: VideoCLIP | VLM) -> list[Trunk]:
    """A clip's vector and a text's, each alone."""
    c = model.config
    sizes = c.text if isinstance(c, VideoCLIPConfig) else c.bert
    batch, seconds, words = Axis("batch"), Axis("seconds", 1, 2, c.frames), Axis("words", 1, 2, sizes.positions)
    present = torch.ones(2, 4, dtype=torch.bool)
    return [
        Trunk(
            name="video",
            module=Call(model, "video"),
            inputs={"features": torch.randn(2, 4, c.features), "mask": present},
            varies={"features": {0: batch, 1: seconds}, "mask": {0: batch, 1: seconds}},
        ),
        Trunk(
            name="text",
            module=Call(model, "text"),
            inputs={"ids": torch.randint(1, sizes.words, (2, 4)), "mask": present},
            varies={"ids": {0: batch, 1: words}, "mask": {0: batch, 1: words}},
        ),
    ]


def frames_trunks(model: S3D) -> list[Trunk]:
    """Clips to vectors."""
    rows, columns = (Axis(name, 32, 1) for name in ("rows", "columns"))
    return [
        Trunk(
            name="video",
            module=model,
            inputs={"video": torch.rand(2, 3, 32, 64, 64)},
            varies={"video": {0: Axis("batch"), 3: rows, 4: columns}},
        )
    ]


FAMILIES = (
    Family(
        name="videoclip",
        system="VideoCLIP",
        reads="words and clips, one feature a second",
        model=VideoCLIP,
        config=VideoCLIPConfig,
        presets=videoclip.PRESETS,
        formats=(
            Format(
                family="videoclip",
                naming="fairseq",
                official=True,
                marks=((f"{VIDEO}videomlp.linear1.weight", f"{TEXT}embeddings.word_embeddings.weight"),),
                rows=videoclip_rows,
                read=videoclip_config,
                file="config.json",
                describe=videoclip_json,
            ),
        ),
        trunks=towers_trunks,
    ),
    Family(
        name="vlm",
        system="VideoCLIP",
        reads="words and clips, one feature a second",
        model=VLM,
        config=VLMConfig,
        presets=vlm.PRESETS,
        formats=(
            Format(
                family="vlm",
                naming="fairseq",
                official=True,
                marks=((f"{JOINT}videomlp.linear1.weight", MATRIX),),
                rows=vlm_rows,
                read=vlm_config,
                file="config.json",
                describe=vlm_json,
                tied=vlm_tied,
            ),
        ),
        trunks=towers_trunks,
    ),
    Family(
        name="s3d",
        system="VideoCLIP",
        reads="clips of 30 frames a second",
        model=S3D,
        config=S3DConfig,
        presets=s3d.PRESETS,
        formats=(
            Format(
                family="s3d",
                naming="howto100m",
                official=True,
                marks=(("conv1.conv1.weight", "mixed_3b.conv_b0.conv1.weight", "fc.weight"),),
                rows=s3d_rows,
                read=s3d_config,
            ),
        ),
        trunks=frames_trunks,
    ),
)
