"""VisualBERT's cases and full-size checkpoints."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sensorium.checkpoints.format import Format
from sensorium.checkpoints.formats import format_named
from sensorium.checkpoints.rename import check, to_ours, to_theirs, under
from sensorium.checkpoints.visualbert import OFFICIAL_EMBEDDING
from sensorium.models.visualbert import Embedding, VisualBERT, VisualBERTConfig
from sensorium.objectives.answering import choice, soft_targets
from sensorium.objectives.masked import masked_words
from sensorium.objectives.matching import sentence_image
from sensorium.tasks.answering import soft_accuracy, whole_answers
from sensorium.tasks.grounding import recall
from tests.conformance.steps import Checked, Preset, all_outputs, load
from tests.conformance.weights import Case

OFFICIAL = {
    "token_type_ids": "segments",
    "input_mask": "mask",
    "image_mask": "region_mask",
    "visual_embeddings_type": "region_segments",
    "image_text_alignment": "alignment",
}
TRANSFORMERS = {
    "token_type_ids": "segments",
    "attention_mask": "mask",
    "visual_attention_mask": "region_mask",
    "visual_token_type_ids": "region_segments",
}


def model_of(case: Case, known: Format) -> VisualBERT:
    c = case.config
    config = known.read(case.state, c)
    assert isinstance(config, VisualBERTConfig)
    model = load(case, known, replace(config, heads=c["num_attention_heads"], eps=c["layer_norm_eps"]))
    assert isinstance(model, VisualBERT)
    config = model.config
    assert (config.width, config.depth, config.mlp) == (
        c["hidden_size"],
        c["num_hidden_layers"],
        c["intermediate_size"],
    )
    assert (config.words, config.positions, config.segments, config.features) == (
        c["vocab_size"],
        c["max_position_embeddings"],
        c["type_vocab_size"],
        c["visual_embedding_dim"],
    )
    assert config.early_fusion != c.get("bypass_transformer", False)
    return model


def given(case: Case, names: dict[str, str], *, flat: bool = False) -> dict[str, Tensor]:
    found = {ours: case.inputs[theirs] for theirs, ours in names.items() if theirs in case.inputs}
    found = {name: tensor.bool() if name.endswith("mask") else tensor for name, tensor in found.items()}
    return {name: tensor.flatten(0, 1) for name, tensor in found.items()} if flat else found


def gradients(check: Checked, model: VisualBERT, known: Format, loss: Tensor) -> None:
    """Those of every weight that the case names, by the checkpoint's names."""
    loss.backward()
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    theirs = to_theirs(ours, known.rows(model.config))
    for name in [name for name in check.left if name.startswith("grad.")]:
        check(name, theirs[name.removeprefix("grad.")])


def trunk(check: Checked, model: VisualBERT) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Everything below the heads, and what the heads read: words, regions, and what is given with them."""
    case = check.case
    ids, regions = case.inputs["input_ids"], case.inputs["visual_embeddings"]
    several = ids.ndim == 3
    flat = given(case, OFFICIAL, flat=several)
    words, features = (ids.flatten(0, 1), regions.flatten(0, 1)) if several else (ids, regions)
    states = model.states(words, features, **flat)
    check("embeddings", states[0])
    for layer in range(model.config.depth):
        seen = case.outputs[f"layer{layer}"].shape[1]  # words alone, where there is no early fusion
        check(f"layer{layer}", states[layer + 1][:, :seen])
    if not model.config.early_fusion:
        check("additional_layer", states[-1])
    _, hidden = model.embed(words, features, **flat)
    seen = torch.ones(states[-1].shape[:2], dtype=torch.bool) if hidden is None else hidden
    torch.testing.assert_close(model(words, features, **flat)[seen], states[-1][seen], **case.tolerance)
    check("pooled", model.represent(words, features, **flat))
    return ids, regions, given(case, OFFICIAL)


def pretrained(model: VisualBERT, ids: Tensor, regions: Tensor, more: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Both heads, on every token: the reference computes padding too."""
    tokens = model.states(ids, regions, **more)[-1]
    assert model.words is not None
    assert model.matching is not None
    logits = model.words(tokens, model.embedding.text.word.weight)
    return logits, model.matching(model.represent(ids, regions, **more))


def visualbert_pretrain(case: Case) -> None:
    """With the sentence-image objective, without it, and for answers as covered words."""
    known = format_named("visualbert", "official")
    model = model_of(case, known)
    with all_outputs(case) as check:
        ids, regions, more = trunk(check, model)
        logits, matching = pretrained(model, ids, regions, more)
        check("logits", logits)
        check("seq_relationship_score", matching)
        labels = case.inputs["masked_lm_labels"]
        loss = words = masked_words(logits[:, : ids.shape[1]], labels, ignore=-1)
        check("masked_lm_loss", words)
        if "is_random_next" in case.inputs:
            match = sentence_image(matching, case.inputs["is_random_next"].flatten())
            check("next_sentence_loss", match)
            loss = words + match
        check("loss", loss)
        if "accuracy" in case.outputs:
            check("accuracy", whole_answers(logits[:, : ids.shape[1]], labels, ignore=-1))
        gradients(check, model, known, loss)
    assert_covered_words_suffice(model, case, logits, matching, words)


def assert_covered_words_suffice(
    model: VisualBERT, case: Case, logits: Tensor, matching: Tensor, expected: Tensor
) -> None:
    """Asking for the covered words alone gives the same logits and the same loss."""
    labels = case.inputs["masked_lm_labels"]
    count = int((labels != -1).sum(1).max())
    places = (labels != -1).to(torch.int64).argsort(dim=1, descending=True, stable=True)[:, :count]
    ids, regions = case.inputs["input_ids"], case.inputs["visual_embeddings"]
    few, match = model.pretrain(ids, regions, places, **given(case, OFFICIAL))
    torch.testing.assert_close(few, logits.gather(1, places[..., None].expand_as(few)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(match, matching, atol=1e-5, rtol=1e-5)
    loss = masked_words(few, labels.gather(1, places), ignore=-1)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def visualbert_vqa(case: Case) -> None:
    known = format_named("visualbert", "official")
    model = model_of(case, known)
    assert model.config.labels == case.config["num_answers"]
    with all_outputs(case) as check:
        ids, regions, more = trunk(check, model)
        logits, target = model.answer(ids, regions, **more), case.inputs["label"]
        check("logits", logits[:, None])
        check("accuracy", soft_accuracy(logits, target))
        loss = soft_targets(logits, target)
        check("loss", loss)
        gradients(check, model, known, loss)


def visualbert_nlvr2(case: Case) -> None:
    """Also the ablation without early fusion, which has the same head."""
    known = format_named("visualbert", "official")
    model = model_of(case, known)
    with all_outputs(case) as check:
        ids, regions, more = trunk(check, model)
        logits = model.classify(ids, regions, **more)
        check("logits", logits)
        loss = choice(logits, case.inputs["label"])
        check("loss", loss)
        gradients(check, model, known, loss)


def visualbert_vcr(case: Case) -> None:
    known = format_named("visualbert", "official")
    model = model_of(case, known)
    assert case.inputs["input_ids"].shape[1] == case.config["num_choices"]
    with all_outputs(case) as check:
        ids, regions, more = trunk(check, model)
        logits = model.choose(ids, regions, **more)
        check("logits", logits)
        loss = choice(logits, case.inputs["label"])
        check("loss", loss)
        gradients(check, model, known, loss)


def visualbert_flickr(case: Case) -> None:
    known = format_named("visualbert", "official")
    model = model_of(case, known)
    with all_outputs(case) as check:
        ids, regions, more = trunk(check, model)
        places, target = case.inputs["flickr_position"], case.inputs["label"]
        scores = model.ground(ids, regions, places, **more)
        tokens, n = model.states(ids, regions, **more)[-1], ids.shape[1]
        spoken = tokens.gather(1, places.clamp(min=0)[..., None].expand(-1, -1, tokens.shape[2]))
        assert model.grounding is not None
        padding = ~more["region_mask"][:, None].expand_as(scores)
        raw = model.grounding(spoken, tokens[:, n:])
        check("attention_scores", raw - 10000 * padding)  # how the authors hide padding
        torch.testing.assert_close(scores[~padding], raw[~padding], **case.tolerance)
        assert (scores[padding] == torch.finfo(scores.dtype).min).all()
        loss = soft_targets(scores, target)
        check("loss", loss)
        grounded = recall(scores, target, places)
        check("accuracy", grounded.recall)
        check("upperbound_accuracy", grounded.bound)
        check("entity_num", grounded.phrases)
        gradients(check, model, known, loss)


def visualbert_layernorm(case: Case) -> None:
    """The embeddings alone, so small that the epsilon of their norm decides."""
    c = case.config
    config = VisualBERTConfig(
        width=c["hidden_size"],
        words=c["vocab_size"],
        positions=c["max_position_embeddings"],
        segments=c["type_vocab_size"],
        features=c["visual_embedding_dim"],
        eps=c["layer_norm_eps"],
    )
    embedding, rows = Embedding(config), under("bert.bert.embeddings.", "", OFFICIAL_EMBEDDING)
    ours = to_ours(case.state, rows)
    check(case.state, ours, embedding.state_dict(), rows)
    embedding.load_state_dict(ours)
    more = given(case, OFFICIAL)
    with all_outputs(case) as checked:
        checked("embeddings", embedding(case.inputs["input_ids"], case.inputs["visual_embeddings"], **more))


def transformers_trunk(check: Checked, model: VisualBERT) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    case = check.case
    ids, regions = case.inputs["input_ids"], case.inputs["visual_embeds"]
    several = ids.ndim == 3
    words, features = (ids.flatten(0, 1), regions.flatten(0, 1)) if several else (ids, regions)
    states = model.states(words, features, **given(case, TRANSFORMERS, flat=several))
    check("embeddings", states[0])
    check("sequence_output", states[-1])
    return ids, regions, given(case, TRANSFORMERS)


def visualbert_hf_pretraining(case: Case) -> None:
    model = model_of(case, format_named("visualbert", "transformers"))
    with all_outputs(case) as check:
        ids, regions, more = transformers_trunk(check, model)
        logits, matching = pretrained(model, ids, regions, more)
        check("prediction_logits", logits)
        check("seq_relationship_logits", matching)
        words = masked_words(logits, case.inputs["labels"])
        check("loss", words + sentence_image(matching, case.inputs["sentence_image_labels"]))


def visualbert_hf_vqa(case: Case) -> None:
    model = model_of(case, format_named("visualbert", "transformers"))
    assert model.config.labels == case.config["num_labels"]
    with all_outputs(case) as check:
        ids, regions, more = transformers_trunk(check, model)
        logits = model.answer(ids, regions, **more)
        check("logits", logits.log_softmax(-1))  # what transformers gives back as soon as there are labels
        check("loss", soft_targets(logits, case.inputs["labels"]))


def visualbert_hf_nlvr2(case: Case) -> None:
    model = model_of(case, format_named("visualbert", "transformers"))
    with all_outputs(case) as check:
        ids, regions, more = transformers_trunk(check, model)
        logits = model.classify(ids, regions, **more)
        check("logits", logits)
        check("loss", choice(logits, case.inputs["labels"]))


def visualbert_hf_multiple_choice(case: Case) -> None:
    model = model_of(case, format_named("visualbert", "transformers"))
    with all_outputs(case) as check:
        ids, regions, more = transformers_trunk(check, model)
        logits = model.choose(ids, regions, **more)
        check("logits", logits)
        check("loss", choice(logits, case.inputs["labels"]))


def visualbert_hf_region_to_phrase(case: Case) -> None:
    model = model_of(case, format_named("visualbert", "transformers"))
    with all_outputs(case) as check:
        ids, regions, more = transformers_trunk(check, model)
        scores = model.ground(ids, regions, case.inputs["region_to_phrase_position"], **more)
        check("logits", scores)
        check("loss", soft_targets(scores, case.inputs["labels"]))


KINDS: dict[str, Callable[[Case], None]] = {
    "visualbert_flickr": visualbert_flickr,
    "visualbert_hf_multiple_choice": visualbert_hf_multiple_choice,
    "visualbert_hf_nlvr2": visualbert_hf_nlvr2,
    "visualbert_hf_pretraining": visualbert_hf_pretraining,
    "visualbert_hf_region_to_phrase": visualbert_hf_region_to_phrase,
    "visualbert_hf_vqa": visualbert_hf_vqa,
    "visualbert_layernorm": visualbert_layernorm,
    "visualbert_nlvr2": visualbert_nlvr2,
    "visualbert_no_early_fusion": visualbert_nlvr2,
    "visualbert_pretrain": visualbert_pretrain,
    "visualbert_pretrain_mlm_only": visualbert_pretrain,
    "visualbert_vcr": visualbert_vcr,
    "visualbert_vqa": visualbert_vqa,
    "visualbert_vqa_advanced": visualbert_pretrain,
}
MANIFESTS: dict[str, Preset] = {
    "visualbert_flickr_fine_tuned": ("visualbert-flickr", "official", {}),
    "visualbert_nlvr2_fine_tuned": ("visualbert-nlvr2", "official", {}),
    "visualbert_vqa_coco_pre": ("visualbert-vqa-coco-pre", "official", {}),
    "visualbert_vqa_coco_pre_hf": ("visualbert-vqa-coco-pre", "transformers", {}),
    "visualbert_vqa_fine_tuned": ("visualbert-vqa", "official", {}),
}
