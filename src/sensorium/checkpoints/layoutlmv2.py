"""LayoutLMv2 and LayoutXLM as their authors published them, and as transformers saves them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints import bert, detectron2
from sensorium.checkpoints.format import Axis, Family, Format, Trunk
from sensorium.checkpoints.rename import ADD_AXIS, SPLIT, CheckpointError, Row, linear, one_to_one, under
from sensorium.checkpoints.rename import depth as count
from sensorium.models.layoutlmv2 import PRESETS, Head, LayoutLMv2, LayoutLMv2Config
from sensorium.models.page_encoder import PageConfig

STAGES = 4
QKV = ("query", "key", "value")
FLAT_BIAS = one_to_one(lambda t: t.flatten(), lambda t: t[None, None])  # theirs is (1, 1, width)
FLAT_PIXELS = one_to_one(lambda t: t.flatten(), lambda t: t[:, None, None])  # theirs is (3, 1, 1)
BACKBONE = "visual.backbone.bottom_up."


def trunk_rows(c: LayoutLMv2Config) -> list[Row]:
    """Everything but the head. q, k and v are one matrix (without the key's bias) or three layers."""
    fused = [
        Row("qkv_linear.weight", tuple(f"{part}.weight" for part in QKV), SPLIT),
        Row("q_bias", "query.bias", FLAT_BIAS),
        Row("v_bias", "value.bias", FLAT_BIAS),
    ]
    apart = [row for part in QKV for row in linear(part, part)]
    block = [
        *under("attention.self.", "attention.", apart if c.key_bias else fused),
        *bert.AFTER_SCORES,
    ]
    embeddings = [
        Row("position_ids", None),
        *under("", "embedding.", bert.EMBEDDING),
        *(
            Row(f"{letter}_position_embeddings.weight", f"layout.{name}.weight")
            for letter, name in (("x", "x"), ("y", "y"), ("h", "height"), ("w", "width"))
        ),
    ]
    return [
        *under("embeddings.", "", embeddings),
        Row("visual.pixel_mean", "page.mean", FLAT_PIXELS),
        Row("visual.pixel_std", "page.deviation", FLAT_PIXELS),
        *under(BACKBONE, "page.trunk.", detectron2.resnet(STAGES)),
        *under("visual.backbone.", "page.pyramid.", detectron2.pyramid(STAGES)),
        *linear("visual_proj", "project"),
        *linear("visual_LayerNorm", "visual_norm"),
        Row("visual_segment_embedding", "visual_segment", ADD_AXIS),
        Row("encoder.rel_pos_bias.weight", "bias.order"),
        Row("encoder.rel_pos_x_bias.weight", "bias.x"),
        Row("encoder.rel_pos_y_bias.weight", "bias.y"),
        *under("encoder.layer.*.", "blocks.*.", block),
        *linear("pooler.dense", "pooler.project"),
    ]


def head_rows(c: LayoutLMv2Config) -> list[Row]:
    """The head's rows. No pretraining head was ever published: its names follow BERT's."""
    relations = [
        Row("entity_emb.weight", "kind.weight"),
        *(row for side in ("head", "tail") for row in linear(f"ffnn_{side}.0", f"{side}.0")),
        *(row for side in ("head", "tail") for row in linear(f"ffnn_{side}.3", f"{side}.2")),
        Row("rel_classifier.bilinear.weight", "bilinear.weight"),
        *linear("rel_classifier.linear", "linear"),
    ]
    pretraining = [
        *under("predictions.", "word.", bert.WORD_HEAD),
        *linear("alignment", "covered"),
        *linear("matching", "matching"),
    ]
    return {
        "none": [],
        "tokens": linear("classifier", "head.score"),
        "page": linear("classifier", "head.score"),
        "answer": linear("qa_outputs", "head.score"),
        "relations": under("extractor.", "head.", relations),
        "pretraining": under("cls.", "head.", pretraining),
    }[c.head]


def official_rows(c: LayoutLMv2Config) -> list[Row]:
    """The authors' files: `layoutlmv2.` before the trunk, with or without a head."""
    return [*under("layoutlmv2.", "", trunk_rows(c)), *head_rows(c)]


def transformers_rows(c: LayoutLMv2Config) -> list[Row]:
    """transformers' files: a model without a head has no prefix."""
    return trunk_rows(c) if c.head == "none" else official_rows(c)


def _head(state: Mapping[str, Tensor], width: int) -> tuple[Head, int]:
    if "extractor.entity_emb.weight" in state:
        return "relations", state["extractor.rel_classifier.linear.bias"].shape[0]
    if "cls.matching.bias" in state:
        return "pretraining", 2
    if "qa_outputs.bias" in state:
        return "answer", state["qa_outputs.bias"].shape[0]
    if "classifier.weight" in state:
        labels, inputs = state["classifier.weight"].shape
        return "tokens" if inputs == width else "page", labels
    return "none", 2


def _page(state: Mapping[str, Tensor], prefix: str) -> PageConfig:
    trunk = prefix + BACKBONE
    return PageConfig(
        depths=detectron2.depths(state, trunk, STAGES),
        groups=detectron2.groups(state, trunk),
        width=state[f"{trunk}res2.0.conv1.weight"].shape[0],
        stem=state[f"{trunk}stem.conv1.weight"].shape[0],
        stage=state[f"{trunk}res2.0.conv3.weight"].shape[0],
        pyramid=state[f"{prefix}visual.backbone.fpn_lateral2.weight"].shape[0],
        statistics=f"{prefix}visual.pixel_mean" in state,
    )


def read_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> LayoutLMv2Config:
    """Sizes from the shapes; the reach of the biases, the grid and the epsilon from config.json, else as published.

    Raises CheckpointError for an activation that the paper's models do not have.
    """
    c = file or {}
    if c.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f"config.json: hidden_act {c['hidden_act']!r} is not LayoutLMv2's (gelu)")
    prefix = "layoutlmv2." if any(name.startswith("layoutlmv2.") for name in state) else ""

    def shape(name: str) -> tuple[int, ...]:
        return tuple(state[prefix + name].shape)

    words, width = shape("embeddings.word_embeddings.weight")
    places, coordinate = shape("embeddings.x_position_embeddings.weight")
    order, space = f"{prefix}encoder.rel_pos_bias.weight", f"{prefix}encoder.rel_pos_x_bias.weight"
    biases = [state[name].shape for name in (order, space) if name in state]
    rows, columns = c.get("image_feature_pool_shape", (7, 7))[:2]
    head, labels = _head(state, width)
    return LayoutLMv2Config(
        width=width,
        depth=count(state, f"{prefix}encoder.layer."),
        heads=int(c.get("num_attention_heads", biases[0][0] if biases else max(1, width // 64))),
        mlp=shape("encoder.layer.0.intermediate.dense.bias")[0],
        words=words,
        positions=shape("embeddings.position_embeddings.weight")[0],
        segments=shape("embeddings.token_type_embeddings.weight")[0],
        places=places,
        coordinate=coordinate,
        shape=shape("embeddings.h_position_embeddings.weight")[1],
        bins=state[order].shape[1] if order in state else 0,
        reach=int(c.get("max_rel_pos", 128)),
        spatial_bins=state[space].shape[1] if space in state else 0,
        spatial_reach=int(c.get("max_rel_2d_pos", 256)),
        grid=(int(rows), int(columns)),
        visual_segment=f"{prefix}visual_segment_embedding" in state,
        key_bias=f"{prefix}encoder.layer.0.attention.self.key.bias" in state,
        eps=float(c.get("layer_norm_eps", 1e-12 if biases else 1e-5)),  # LayoutXLM has no biases, and XLM's epsilon
        page=_page(state, prefix),
        head=head,
        labels=labels,
    )


ARCHITECTURES: dict[Head, str] = {
    "none": "LayoutLMv2Model",
    "tokens": "LayoutLMv2ForTokenClassification",
    "page": "LayoutLMv2ForSequenceClassification",
    "answer": "LayoutLMv2ForQuestionAnswering",
    "relations": "LayoutLMv2ForRelationExtraction",
    "pretraining": "LayoutLMv2ForPreTraining",
}


def config_json(c: LayoutLMv2Config) -> dict[str, Any]:
    """The config.json from which the authors' code and transformers rebuild the model."""
    page = c.page
    return {
        "architectures": [ARCHITECTURES[c.head]],
        "model_type": "layoutlmv2",
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "intermediate_size": c.mlp,
        "hidden_act": "gelu",
        "vocab_size": c.words,
        "max_position_embeddings": c.positions,
        "type_vocab_size": c.segments,
        "max_2d_position_embeddings": c.places,
        "coordinate_size": c.coordinate,
        "shape_size": c.shape,
        "has_relative_attention_bias": bool(c.bins),
        "rel_pos_bins": c.bins or 32,
        "max_rel_pos": c.reach,
        "has_spatial_attention_bias": bool(c.spatial_bins),
        "rel_2d_pos_bins": c.spatial_bins or 64,
        "max_rel_2d_pos": c.spatial_reach,
        "has_visual_segment_embedding": c.visual_segment,
        "fast_qkv": not c.key_bias,
        "layer_norm_eps": c.eps,
        "image_feature_pool_shape": [*c.grid, page.pyramid],
        "convert_sync_batchnorm": False,
        "num_labels": c.labels,
    }


MARKS = ("embeddings.x_position_embeddings.weight", "visual_proj.weight", "visual_LayerNorm.weight")
PREFIXED = tuple(f"layoutlmv2.{name}" for name in MARKS)
FORMATS = (
    Format(
        family="layoutlmv2",
        naming="official",
        marks=((*PREFIXED, "layoutlmv2.visual.pixel_mean"),),
        rows=official_rows,
        read=read_config,
        file="config.json",
        describe=config_json,
    ),
    Format(  # the same names, but no prefix without a head; newer releases do not store the statistics of pixels
        family="layoutlmv2",
        naming="transformers",
        marks=(PREFIXED, MARKS),
        rows=transformers_rows,
        read=read_config,
        file="config.json",
        describe=config_json,
    ),
)


def trunks(model: LayoutLMv2) -> list[Trunk]:
    """Words, boxes and the picture of a page to the head's scores."""
    c, batch = model.config, Axis("batch")
    words = Axis("words", 1, 2, c.positions)
    corner = torch.randint(0, 900, (2, 6, 2))
    rows, columns = c.grid
    return [
        Trunk(
            name="page",
            module=model,
            inputs={
                "ids": torch.randint(0, c.words, (2, 6)),
                "boxes": torch.cat([corner, corner + 50], dim=-1),
                "image": torch.randint(0, 256, (2, 3, 32 * rows, 32 * columns)).float(),
            },
            varies={"ids": {0: batch, 1: words}, "boxes": {0: batch, 1: words}, "image": {0: batch}},
            outputs=("scores",),
        )
    ]


FAMILIES = (
    Family(
        name="layoutlmv2",
        system="LayoutLMv2",
        reads="pages: words, their boxes and the picture",
        model=LayoutLMv2,
        config=LayoutLMv2Config,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
