"""ViLBERT's cases and full-size checkpoints."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.checkpoints.format import Format
from sensorium.checkpoints.formats import format_named
from sensorium.checkpoints.rename import check, to_ours, to_theirs
from sensorium.checkpoints.vilbert import rows
from sensorium.data.regions_masking import box_overlap, location, mask_regions, picture_feature
from sensorium.models.vilbert import Reading, Stream, ViLBERT, ViLBERTConfig
from sensorium.objectives.alignment import allowed_answers, swapped_caption, verdict
from sensorium.objectives.masked import masked_words
from sensorium.objectives.regions import masked_classes, masked_features
from sensorium.tasks.expressions import found
from tests.conformance.steps import Checked, Preset, all_outputs, load
from tests.conformance.weights import Case


def sizes(c: dict[str, Any]) -> dict[str, Any]:
    """What the reference's configuration says of the two streams."""
    return {
        "text": Stream(
            width=c["hidden_size"],
            depth=c["num_hidden_layers"],
            heads=c["num_attention_heads"],
            mlp=c["intermediate_size"],
        ),
        "vision": Stream(
            width=c["v_hidden_size"],
            depth=c["v_num_hidden_layers"],
            heads=c["v_num_attention_heads"],
            mlp=c["v_intermediate_size"],
        ),
        "co_width": c["bi_hidden_size"],
        "co_heads": c["bi_num_attention_heads"],
        "meetings": tuple(zip(c["t_biattention_id"], c["v_biattention_id"], strict=True)),
        "words": c["vocab_size"],
        "positions": c["max_position_embeddings"],
        "segments": c["type_vocab_size"],
        "features": c["v_feature_size"],
        "targets": c["v_target_size"],
        "fusion": {"mul": "product", "sum": "sum"}[c["fusion_method"]],
        "coattention": c["with_coattention"],
        "dynamic": c["dynamic_attention"],
    }


def model_of(case: Case, known: Format) -> ViLBERT:
    config = known.read(case.state, case.config)
    assert isinstance(config, ViLBERTConfig)
    assert {name: getattr(config, name) for name in sizes(case.config)} == sizes(case.config)
    assert bool(config.task_tokens) == case.config["task_specific_tokens"]
    model = load(case, known, config)
    assert isinstance(model, ViLBERT)
    assert known.read(case.state, known.describe(config) if known.describe else None) == config
    return model


def read(case: Case, model: ViLBERT, check: Checked) -> Reading:
    """Run both streams and compare what comes in, what the connections give and what comes out."""

    def connection(k: int) -> Callable[..., None]:
        def seen(module: nn.Module, given: Any, result: tuple[Tensor, Tensor]) -> None:
            check(f"c_layer{k}.t", result[0])
            check(f"c_layer{k}.v", result[1])

        return seen

    hooks = [
        layer.register_forward_hook(connection(k))
        for k, layer in enumerate(model.connections)
        if f"c_layer{k}.t" in case.outputs
    ]
    x = case.inputs
    segments, task = x["token_type_ids"], x["task_ids"][:, 0] if "task_ids" in x else None
    check("t_embeddings", model.embed_words(x["input_ids"], segments, task))
    if "v_embeddings" in case.outputs:
        check("v_embeddings", model.embed_regions(x["image_feat"], x["image_loc"]))
    reading = model(
        x["input_ids"],
        x["image_feat"],
        x["image_loc"],
        mask=x["attention_mask"].bool(),
        region_mask=x["image_attention_mask"].bool(),
        segments=segments,
        task=task,
        every_pair=case.config["fast_mode"] or case.config["in_batch_pairs"],
    )
    for name, ours in {
        "sequence_t": reading.text,
        "sequence_v": reading.vision,
        "pooled_t": reading.pooled_text,
        "pooled_v": reading.pooled_vision,
    }.items():
        check(name, ours)
    for hook in hooks:
        hook.remove()
    return reading


def pretraining(case: Case) -> None:
    known = format_named("vilbert", "official")
    model, x = model_of(case, known), case.inputs
    model.requires_grad_(True)
    with all_outputs(case) as check:
        reading = read(case, model, check)
        words, regions = model.masked_words(reading.text), model.regions(reading.vision)
        alignment = model.alignment(reading.joint)
        check("prediction_scores_t", words)
        check("prediction_scores_v", regions)
        check("seq_relationship_score", alignment)
        if "total_loss" not in case.outputs:
            return
        guessed = {0: masked_classes, 1: masked_features}[case.config["visual_target"]]
        losses = {
            "masked_lm_loss": masked_words(words, x["masked_lm_labels"], ignore=-1),
            # the region that stands for the picture is never masked
            "masked_img_loss": guessed(regions[:, 1:], x["image_target"], x["image_label"] == 1),
            "next_sentence_loss": swapped_caption(alignment, x["next_sentence_label"] == 1),
        }
        total = torch.stack(list(losses.values())).sum()
        for name, loss in {**losses, "total_loss": total}.items():
            check(name, loss)
        total.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        theirs = to_theirs(gradients, known.rows(model.config))
        for name in [name for name in check.left if name.startswith("grad.")]:
            check(name, theirs[name.removeprefix("grad.")])


def tasks(case: Case) -> None:
    model, x = model_of(case, format_named("vilbert", "official")), case.inputs
    heads = model.tasks
    assert heads is not None
    with all_outputs(case) as check:
        reading = read(case, model, check)
        mask = x["image_attention_mask"].bool()
        even = len(reading.joint) % 2 == 0
        grounded = heads.ground(reading.vision, mask)
        outputs = {
            "vil_prediction": heads.vqa(reading.joint),
            "vil_prediction_gqa": heads.gqa(reading.joint),
            "vil_logit": heads.match(reading.joint),
            # the authors' code gives the alignment back where rows do not come in pairs
            "vil_binary_prediction": heads.two_pictures(reading.joint) if even else model.alignment(reading.joint),
            "vil_tri_prediction": heads.entailment(reading.joint),
            "vision_prediction": model.regions(reading.vision),
            "vision_logit": grounded[..., None],
            "linguisic_prediction": model.masked_words(reading.text),
            "linguisic_logit": heads.word(reading.text),
        }
        if "vqa_target" in x:
            outputs["loss.vqa"] = allowed_answers(outputs["vil_prediction"], x["vqa_target"])
        if "gqa_target" in x:
            outputs["loss.gqa"] = allowed_answers(outputs["vil_prediction_gqa"], x["gqa_target"])
        overlap = x["grounding_target"][..., 0]
        outputs["loss.grounding"] = allowed_answers(grounded, overlap)
        outputs["score.grounding"] = found(grounded, overlap).sum()
        choices = outputs["vil_logit"].view(len(x["retrieval_target"]), -1)
        outputs["loss.retrieval"] = F.cross_entropy(choices, x["retrieval_target"])
        if "nlvr_target" in x:
            outputs["loss.nlvr2"] = verdict(outputs["vil_binary_prediction"], x["nlvr_target"])
        outputs["loss.entailment"] = verdict(outputs["vil_tri_prediction"], x["tri_target"])
        for name in check.left & outputs.keys():
            check(name, outputs[name])


def embeddings(case: Case) -> None:
    """Both embeddings, of which alone the case has weights."""
    table = rows(ViLBERTConfig())
    config = ViLBERTConfig(**sizes(case.config))
    model = ViLBERT(config)
    ours = to_ours(case.state, table)
    own = {
        name: t
        for name, t in model.state_dict().items()
        if name.split(".")[0] in ("words_in", "feature", "place", "norm")
    }
    check(case.state, ours, own, table)
    model.load_state_dict(ours, strict=False)
    assert all(torch.equal(tensor, case.state[name]) for name, tensor in to_theirs(ours, table).items())
    with all_outputs(case) as compare:
        compare("t_embeddings", model.embed_words(case.inputs["input_ids"], case.inputs["token_type_ids"]))
        compare("v_embeddings", model.embed_regions(case.inputs["image_feat"], case.inputs["image_loc"]))


def region_data(case: Case) -> None:
    x = case.inputs
    width, height = x["image_size"].tolist()
    overlap = box_overlap(x["boxes"], x["boxes"])
    masked = [mask_regions(f, overlap, d) for f, d in zip(x["features"], x["draws"], strict=True)]
    with all_outputs(case) as check:
        check("iou", overlap)
        check("location", location(x["boxes"], width, height))
        check("masked_features", torch.stack([m.features for m in masked]))
        check("image_label", torch.stack([m.drawn for m in masked]).long() * 2 - 1)
        check("masked_label", torch.stack([m.flagged for m in masked]).to(torch.uint8))
        check("global_feature", torch.stack([picture_feature(m.features, ~m.flagged) for m in masked]))


KINDS: dict[str, Callable[[Case], None]] = {
    "vilbert_dynamic_attention": pretraining,
    "vilbert_fast_mode": pretraining,
    "vilbert_in_batch_pairs": pretraining,
    "vilbert_layernorm": embeddings,
    "vilbert_no_coattention": pretraining,
    "vilbert_pretrain": pretraining,
    "vilbert_pretrain_mse": pretraining,
    "vilbert_pretrain_sum": pretraining,
    "vilbert_region_data": region_data,
    "vilbert_tasks": tasks,
    "vilbert_tasks_tokens": tasks,
}
MANIFESTS: dict[str, Preset] = {
    "vilbert_bert_base_6layer_6conect_12in1": ("vilbert-12in1", "official", {}),
    "vilbert_bert_base_6layer_6conect_pretrain": ("vilbert", "official", {}),
    "vilbert_bert_base_6layer_6conect_tasks": ("vilbert-tasks", "official", {}),
}
