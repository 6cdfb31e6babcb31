"""VisualBERT as its authors' code and transformers save it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints import bert
from sensorium.checkpoints.format import Axis, Family, Format, Trunk
from sensorium.checkpoints.rename import CheckpointError, Row, depth, linear, under
from sensorium.models.visualbert import PRESETS, VisualBERT, VisualBERTConfig

PRETRAINING = [
    *under("predictions.", "words.", bert.WORD_HEAD),
    *linear("seq_relationship", "matching"),
]
# The authors' VCR files hold the detector that was trained along with them; its regions are this model's input.
DETECTOR = [Row("detector." + ".".join("*" * parts), None) for parts in range(1, 9)]


def _embedding(region_segment: str, region_position: str, project: str) -> list[Row]:
    return [
        *under("", "text.", bert.EMBEDDING),
        Row(f"{region_segment}.weight", "region_segment.weight"),
        Row(f"{region_position}.weight", "region_position.weight"),
        *linear(project, "project"),
        Row("position_ids", None),
    ]


OFFICIAL_EMBEDDING = _embedding("token_type_embeddings_visual", "position_embeddings_visual", "projection")
TRANSFORMERS_EMBEDDING = _embedding("visual_token_type_embeddings", "visual_position_embeddings", "visual_projection")


def _trunk(embedding: list[Row]) -> list[Row]:
    return [
        *under("embeddings.", "embedding.", embedding),
        *under("encoder.layer.*.", "blocks.*.", bert.LAYER),
        *under("additional_layer.", "fusion.", bert.LAYER),
        *linear("pooler.dense", "pooler.project"),
    ]


def _grounding(theirs: str) -> list[Row]:
    return [row for part in ("query", "key", "value") for row in linear(f"{theirs}.{part}", f"grounding.{part}")]


def official_rows(c: VisualBERTConfig) -> list[Row]:
    """uclanlp/visualbert: the model stands in a wrapper called `bert`, and so does the trunk inside it."""
    return [
        *under("bert.bert.", "", _trunk(OFFICIAL_EMBEDDING)),
        *under("bert.cls.", "", PRETRAINING),
        *linear("bert.classifier", "classifier"),
        *_grounding("bert.flickr_attention"),
        *DETECTOR,
    ]


def _is_bare(c: VisualBERTConfig) -> bool:
    """Whether transformers has it as VisualBertModel, whose names have no prefix."""
    return not (c.pretraining or c.labels or c.phrases)


def transformers_rows(c: VisualBERTConfig) -> list[Row]:
    """transformers' VisualBertModel, and its heads: every one of them is called `cls`."""
    trunk = _trunk(TRANSFORMERS_EMBEDDING)
    return [
        *under("" if _is_bare(c) else "visual_bert.", "", trunk),
        *under("cls.", "", PRETRAINING),
        *linear("cls", "classifier"),
        *_grounding("attention"),
    ]


def official_tied(c: VisualBERTConfig) -> dict[str, str]:
    """The word head's matrix is the word embedding."""
    copies = {"bert.cls.predictions.decoder.weight": "bert.bert.embeddings.word_embeddings.weight"}
    return copies if c.pretraining else {}


def transformers_tied(c: VisualBERTConfig) -> dict[str, str]:
    """The word head's matrix is the word embedding; its bias is kept under two names."""
    copies = {
        "cls.predictions.decoder.weight": "visual_bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    return copies if c.pretraining else {}


def _sizes(state: Mapping[str, Tensor], trunk: str, project: str, head: str, phrases: str) -> dict[str, Any]:
    words, width = state[f"{trunk}embeddings.word_embeddings.weight"].shape
    labels = state.get(f"{head}.bias")
    # The head for phrases is as wide as one of the trunk's; otherwise BERT's heads of 64, as all published files have.
    head_width = state[f"{phrases}.query.weight"].shape[0] if f"{phrases}.query.weight" in state else 64
    return {
        "width": width,
        "depth": depth(state, f"{trunk}encoder.layer."),
        "heads": max(1, width // head_width),
        "mlp": state[f"{trunk}encoder.layer.0.intermediate.dense.bias"].shape[0],
        "words": words,
        "positions": state[f"{trunk}embeddings.position_embeddings.weight"].shape[0],
        "segments": state[f"{trunk}embeddings.token_type_embeddings.weight"].shape[0],
        "features": state[f"{trunk}embeddings.{project}.weight"].shape[1],
        "labels": 0 if labels is None else len(labels),
        "phrases": f"{phrases}.query.weight" in state,
        "early_fusion": f"{trunk}additional_layer.output.dense.weight" not in state,
    }


def official_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> VisualBERTConfig:
    """Every size stands in the shapes."""
    sizes = _sizes(state, "bert.bert.", "projection", "bert.classifier", "bert.flickr_attention")
    return VisualBERTConfig(**sizes, pretraining="bert.cls.predictions.bias" in state)


def transformers_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> VisualBERTConfig:
    """Sizes from the shapes; heads and epsilon from config.json where it is there."""
    c = file or {}
    if (activation := c.get("hidden_act", "gelu")) != "gelu":
        raise CheckpointError(f"config.json: hidden_act {activation!r} is not one that VisualBERT is built with (gelu)")
    trunk = "visual_bert." if "visual_bert.embeddings.word_embeddings.weight" in state else ""
    sizes = _sizes(state, trunk, "visual_projection", "cls", "attention")
    sizes["heads"] = int(c.get("num_attention_heads", sizes["heads"]))
    eps = float(c.get("layer_norm_eps", 1e-12))
    return VisualBERTConfig(**sizes, eps=eps, pretraining="cls.predictions.bias" in state)


def _architecture(c: VisualBERTConfig) -> str:
    if _is_bare(c):
        return "VisualBertModel"
    if c.pretraining:
        return "VisualBertForRegionToPhraseAlignment" if c.phrases else "VisualBertForPreTraining"
    # transformers has a class for each task; the published heads have 1, 2 and 3129 labels
    tasks = {1: "VisualBertForMultipleChoice", 2: "VisualBertForVisualReasoning"}
    return tasks.get(c.labels, "VisualBertForQuestionAnswering")


def transformers_json(c: VisualBERTConfig) -> dict[str, Any]:
    """The config.json with which transformers rebuilds the model; raises where it has no class with these heads."""
    if ((c.pretraining or c.phrases) and c.labels) or (c.phrases and not c.pretraining):
        raise CheckpointError("transformers has no VisualBERT with these heads together; save this model as official")
    labels = {"id2label": {str(i): f"LABEL_{i}" for i in range(c.labels)}} if c.labels > 1 else {}
    return {
        "architectures": [_architecture(c)],
        "model_type": "visual_bert",
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "intermediate_size": c.mlp,
        "vocab_size": c.words,
        "max_position_embeddings": c.positions,
        "type_vocab_size": c.segments,
        "visual_embedding_dim": c.features,
        "bypass_transformer": not c.early_fusion,
        "hidden_act": "gelu",
        "layer_norm_eps": c.eps,
        **labels,
    }


OWN = ("embeddings.visual_projection.weight", "embeddings.visual_token_type_embeddings.weight")
FORMATS = (
    Format(
        family="visualbert",
        naming="official",
        marks=(("bert.bert.embeddings.projection.weight", "bert.bert.embeddings.token_type_embeddings_visual.weight"),),
        rows=official_rows,
        read=official_config,
        tied=official_tied,
    ),
    Format(
        family="visualbert",
        naming="transformers",
        marks=(tuple(f"visual_bert.{name}" for name in OWN), OWN),
        rows=transformers_rows,
        read=transformers_config,
        file="config.json",
        describe=transformers_json,
        tied=transformers_tied,
    ),
)


def trunks(model: VisualBERT) -> list[Trunk]:
    """Words and regions to tokens."""
    c = model.config
    return [
        Trunk(
            name="reader",
            module=model,
            inputs={"ids": torch.randint(0, c.words, (2, 7)), "regions": torch.randn(2, 5, c.features)},
            varies={
                "ids": {0: Axis("batch"), 1: Axis("words", 1, 2, c.positions)},
                "regions": {0: Axis("batch"), 1: Axis("regions", 1, 2)},
            },
            outputs=("tokens",),
        )
    ]


FAMILIES = (
    Family(
        name="visualbert",
        system="VisualBERT",
        reads="words and regions",
        model=VisualBERT,
        config=VisualBERTConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
