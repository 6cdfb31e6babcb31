"""ViLBERT as its authors' code saves it, with task heads (12-in-1) and without."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from sensorium.checkpoints import bert
from sensorium.checkpoints.format import Axis, Family, Format, Trunk
from sensorium.checkpoints.rename import CheckpointError, Row, depth, linear, under
from sensorium.models.vilbert import PRESETS, Reading, Stream, ViLBERT, ViLBERTConfig

# Only the vision stream's attention is gated.
GATE = [row for part in ("query", "key") for row in linear(f"dyLinear_{part[0]}", part)]


def _direction(ours: str, own: int, other: int, letter: str) -> list[Row]:
    """One half of a connection: stream 1 is vision, 2 is text; queries come from one, keys and values of the other."""
    return [
        *linear(f"biattention.query{own}", f"{ours}.attention.query"),
        *linear(f"biattention.key{other}", f"{ours}.attention.key"),
        *linear(f"biattention.value{other}", f"{ours}.attention.value"),
        *linear(f"biOutput.dense{own}", f"{ours}.attention.out"),
        *linear(f"biOutput.LayerNorm{own}", f"{ours}.norm1"),
        *linear(f"biOutput.q_dense{own}", f"{ours}_unused"),
        *linear(f"{letter}_intermediate.dense", f"{ours}.mlp.up"),
        *linear(f"{letter}_output.dense", f"{ours}.mlp.down"),
        *linear(f"{letter}_output.LayerNorm", f"{ours}.norm2"),
    ]


EMBEDDING = [
    *under("embeddings.", "words_in.", bert.EMBEDDING),
    Row("embeddings.task_embeddings.weight", "task.weight"),
    *linear("v_embeddings.image_embeddings", "feature"),
    *linear("v_embeddings.image_location_embeddings", "place"),
    *linear("v_embeddings.LayerNorm", "norm"),
]
TRUNK = [
    *EMBEDDING,
    *under("encoder.layer.*.", "text.*.", bert.LAYER),
    *under("encoder.v_layer.*.", "vision.*.", bert.LAYER),
    *under("encoder.v_layer.*.attention.self.", "gates.*.", GATE),
    *under("encoder.c_layer.*.", "connections.*.", [*_direction("vision", 1, 2, "v"), *_direction("text", 2, 1, "t")]),
    *linear("t_pooler.dense", "pool_text"),
    *linear("v_pooler.dense", "pool_vision"),
]
PRETRAINING = [
    *under("predictions.", "words.", bert.WORD_HEAD),
    *linear("bi_seq_relationship", "alignment"),
    *linear("imagePredictions.transform.dense", "regions.dense"),
    *linear("imagePredictions.transform.LayerNorm", "regions.norm"),
    *linear("imagePredictions.decoder", "regions.project"),
]
CLASSIFIERS = {"vil_prediction": "vqa", "vil_prediction_gqa": "gqa", "vil_binary_prediction": "pictures"}
TASKS = [
    *(
        row
        for theirs, ours in CLASSIFIERS.items()
        for part in (0, 2, 3)
        for row in linear(f"{theirs}.logit_fc.{part}", f"tasks.{ours}.{part}")
    ),
    *linear("vil_logit", "tasks.match"),
    *linear("vil_tri_prediction", "tasks.entailment"),
    *linear("vision_logit", "tasks.region"),
    *linear("linguisic_logit", "tasks.word"),
]


def rows(c: ViLBERTConfig) -> list[Row]:
    """facebookresearch/vilbert-multi-task."""
    return [*under("bert.", "", TRUNK), *under("cls.", "", PRETRAINING), *TASKS]


def tied(c: ViLBERTConfig) -> dict[str, str]:
    """The word head's matrix is the word embedding."""
    return {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}


def config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ViLBERTConfig:
    """Sizes from the shapes; heads, meetings and fusion from the file, or as the published models have them."""
    c = file or {}
    for key in ("hidden_act", "v_hidden_act"):
        if c.get(key, "gelu") != "gelu":
            raise CheckpointError(f"config.json: {key} {c[key]!r} is not one that ViLBERT is built with (gelu)")
    words, width = state["bert.embeddings.word_embeddings.weight"].shape
    v_width, features = state["bert.v_embeddings.image_embeddings.weight"].shape
    co_width = len(state["bert.t_pooler.dense.bias"])
    layers, v_layers = depth(state, "bert.encoder.layer."), depth(state, "bert.encoder.v_layer.")
    connections = depth(state, "bert.encoder.c_layer.")
    text_meets = cast(list[int], c.get("t_biattention_id", range(layers - connections, layers)))
    vision_meets = cast(list[int], c.get("v_biattention_id", range(v_layers - connections, v_layers)))
    if not len(text_meets) == len(vision_meets) == connections:
        raise CheckpointError(f"config.json: t_biattention_id and v_biattention_id should list {connections} layers")
    fusion = str(c.get("fusion_method", "mul")).split()[0]
    if fusion not in FUSIONS.values():
        raise CheckpointError(f"config.json: fusion_method {fusion!r} is neither mul nor sum")
    vqa, gqa = (state.get(f"{head}.logit_fc.3.bias") for head in ("vil_prediction", "vil_prediction_gqa"))
    task = state.get("bert.embeddings.task_embeddings.weight")
    return ViLBERTConfig(
        text=Stream(
            width=width,
            depth=layers,
            heads=int(c.get("num_attention_heads", max(1, width // 64))),
            mlp=len(state["bert.encoder.layer.0.intermediate.dense.bias"]),
        ),
        vision=Stream(
            width=v_width,
            depth=v_layers,
            heads=int(c.get("v_num_attention_heads", max(1, v_width // 128))),
            mlp=len(state["bert.encoder.v_layer.0.intermediate.dense.bias"]),
        ),
        co_width=co_width,
        co_heads=int(c.get("bi_num_attention_heads", max(1, co_width // 128))),
        meetings=tuple(zip(text_meets, vision_meets, strict=True)),
        words=words,
        positions=len(state["bert.embeddings.position_embeddings.weight"]),
        segments=len(state["bert.embeddings.token_type_embeddings.weight"]),
        features=features,
        targets=len(state["cls.imagePredictions.decoder.bias"]),
        fusion="sum" if fusion == "sum" else "product",
        coattention=bool(c.get("with_coattention", True)),
        dynamic="bert.encoder.v_layer.0.attention.self.dyLinear_q.weight" in state,
        vqa=0 if vqa is None else len(vqa),
        gqa=0 if gqa is None else len(gqa),
        task_tokens=0 if task is None else len(task),
    )


FUSIONS = {"product": "mul", "sum": "sum"}


def describe(c: ViLBERTConfig) -> dict[str, Any]:
    """The configuration file with which the authors' code rebuilds the model."""
    return {
        "hidden_size": c.text.width,
        "num_hidden_layers": c.text.depth,
        "num_attention_heads": c.text.heads,
        "intermediate_size": c.text.mlp,
        "hidden_act": "gelu",
        "vocab_size": c.words,
        "max_position_embeddings": c.positions,
        "type_vocab_size": c.segments,
        "v_feature_size": c.features,
        "v_target_size": c.targets,
        "v_hidden_size": c.vision.width,
        "v_num_hidden_layers": c.vision.depth,
        "v_num_attention_heads": c.vision.heads,
        "v_intermediate_size": c.vision.mlp,
        "v_hidden_act": "gelu",
        "bi_hidden_size": c.co_width,
        "bi_num_attention_heads": c.co_heads,
        "t_biattention_id": [text for text, _ in c.meetings],
        "v_biattention_id": [vision for _, vision in c.meetings],
        "fusion_method": FUSIONS[c.fusion],
        "with_coattention": c.coattention,
        "dynamic_attention": c.dynamic,
        "task_specific_tokens": c.task_tokens > 0,
    }


FORMATS = (
    Format(
        family="vilbert",
        naming="official",
        marks=(("bert.v_embeddings.image_location_embeddings.weight", "bert.embeddings.word_embeddings.weight"),),
        rows=rows,
        read=config,
        file="config.json",
        describe=describe,
        tied=tied,
    ),
)


def trunks(model: ViLBERT) -> list[Trunk]:
    """Words and regions through both streams."""
    c = model.config
    inputs = {
        "ids": torch.randint(0, c.words, (2, 7)),
        "regions": torch.randn(2, 5, c.features),
        "places": torch.rand(2, 5, 5),
    }
    batch, regions = Axis("batch"), Axis("regions", 1, 2)
    outputs = ("text", "vision", "pooled_text", "pooled_vision", "joint")
    module: nn.Module = model
    if c.task_tokens:
        module, inputs["task"] = WithTask(model), torch.zeros(2, dtype=torch.long)
    return [
        Trunk(
            name="reader",
            module=module,
            inputs=inputs,
            varies={
                "ids": {0: batch, 1: Axis("words", 1, 2, c.positions)},
                "regions": {0: batch, 1: regions},
                "places": {0: batch, 1: regions},
                "task": {0: batch},
            },
            outputs=outputs,
        )
    ]


class WithTask(nn.Module):
    """The model with the task in its place among the inputs."""

    def __init__(self, model: ViLBERT) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, regions: Tensor, places: Tensor, task: Tensor) -> Reading:
        """Read each text, as its task has it, with its picture."""
        return self.model(ids, regions, places, task=task)


FAMILIES = (
    Family(
        name="vilbert",
        system="ViLBERT",
        reads="words and regions",
        model=ViLBERT,
        config=ViLBERTConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
