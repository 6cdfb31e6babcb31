"""VisualBERT in transformers and here: equal outputs both ways, on random weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.visualbert import VisualBERT, VisualBERTConfig
from sensorium.objectives.answering import choice, soft_targets
from sensorium.objectives.masked import masked_words
from sensorium.objectives.matching import sentence_image
from tests.checkpoints.peers import close, from_ours, randomise

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("quiet")
SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "visual_embedding_dim": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-6,
}
TINY = VisualBERTConfig(
    width=24, depth=2, heads=4, mlp=40, words=50, positions=16, segments=3, features=10, eps=1e-6, pretraining=False
)
NAMES = {
    "token_type_ids": "segments",
    "attention_mask": "mask",
    "visual_attention_mask": "region_mask",
    "visual_token_type_ids": "region_segments",
}
KINDS = {
    "VisualBertModel": TINY,
    "VisualBertForPreTraining": replace(TINY, pretraining=True),
    "VisualBertForQuestionAnswering": replace(TINY, labels=7),
    "VisualBertForVisualReasoning": replace(TINY, labels=2),
    "VisualBertForMultipleChoice": replace(TINY, labels=1),
    "VisualBertForRegionToPhraseAlignment": replace(TINY, pretraining=True, phrases=True),
}


def batch(*choices: int) -> dict[str, Tensor]:
    """Three sentences and pictures of several lengths, in transformers' words."""
    ids = torch.randint(1, 50, (3, *choices, 9))
    text, picture = torch.tensor([9, 5, 7]), torch.tensor([4, 4, 1])
    shape = [3, *[1] * len(choices), -1]
    return {
        "input_ids": ids,
        "token_type_ids": torch.randint(0, 3, ids.shape),
        "attention_mask": (torch.arange(9) < text[:, None]).long().view(shape).repeat(1, *choices, 1),
        "visual_embeds": torch.randn(3, *choices, 4, 10),
        "visual_attention_mask": (torch.arange(4) < picture[:, None]).long().view(shape).repeat(1, *choices, 1),
        "visual_token_type_ids": torch.randint(0, 3, (3, *choices, 4)),
    }


def given(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    named = {ours: inputs[theirs] for theirs, ours in NAMES.items()}
    return {name: tensor.bool() if name.endswith("mask") else tensor for name, tensor in named.items()}


def agree(ours: VisualBERT, theirs: Any, architecture: str) -> None:
    """One batch through both, with every loss that there is."""
    inputs = batch(4) if architecture == "VisualBertForMultipleChoice" else batch()
    ids, regions, more = inputs["input_ids"], inputs["visual_embeds"], given(inputs)
    if architecture == "VisualBertModel":
        alignment = torch.randint(-1, 9, (3, 4, 3))
        expected = theirs(**inputs, image_text_alignment=alignment)
        seen = torch.cat([more["mask"], more["region_mask"]], dim=1)  # what comes back on padding means nothing
        close(ours(ids, regions, **more, alignment=alignment)[seen], expected.last_hidden_state[seen])
        close(ours.states(ids, regions, **more, alignment=alignment)[-1], expected.last_hidden_state)
        close(ours.represent(ids, regions, **more, alignment=alignment), expected.pooler_output)
    elif architecture == "VisualBertForPreTraining":
        seen = torch.cat([more["mask"], more["region_mask"]], dim=1)
        labels = torch.where(seen & (torch.rand(3, 13) < 0.4), torch.randint(0, 50, (3, 13)), -100)
        matches = torch.tensor([1, 0, 1])
        expected = theirs(**inputs, labels=labels, sentence_image_labels=matches)
        words, matching = ours.pretrain(ids, regions, torch.arange(13).expand(3, -1), **more)
        close(words[seen], expected.prediction_logits[seen])
        close(matching, expected.seq_relationship_logits)
        close(masked_words(words, labels) + sentence_image(matching, matches), expected.loss)
    elif architecture == "VisualBertForQuestionAnswering":
        labels = torch.rand(3, 7)
        logits = ours.answer(ids, regions, **more)
        close(logits, theirs(**inputs).logits)
        close(soft_targets(logits, labels), theirs(**inputs, labels=labels).loss)
    elif architecture == "VisualBertForVisualReasoning":
        labels = torch.tensor([1, 0, 1])
        logits, expected = ours.classify(ids, regions, **more), theirs(**inputs, labels=labels)
        close(logits, expected.logits)
        close(choice(logits, labels), expected.loss)
    elif architecture == "VisualBertForMultipleChoice":
        labels = torch.tensor([3, 0, 1])
        scores, expected = ours.choose(ids, regions, **more), theirs(**inputs, labels=labels)
        close(scores, expected.logits)
        close(choice(scores, labels), expected.loss)
    else:
        phrases, labels = torch.tensor([[2, 4], [1, -1], [6, 3]]), torch.rand(3, 2, 4).softmax(-1)
        labels = labels * inputs["visual_attention_mask"][:, None]
        scores = ours.ground(ids, regions, phrases, **more)
        expected = theirs(**inputs, region_to_phrase_position=phrases, labels=labels)
        close(scores, expected.logits)
        close(soft_targets(scores, labels), expected.loss)


@torch.no_grad()
@pytest.mark.parametrize("architecture", KINDS)
def test_theirs_comes_here(architecture: str, tmp_path: Path) -> None:
    more = {"num_labels": KINDS[architecture].labels} if KINDS[architecture].labels > 1 else {}
    theirs = getattr(transformers, architecture)(transformers.VisualBertConfig(**SIZES, **more))
    randomise(theirs, by=0.3).save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.found == "visualbert under the names of transformers"
    assert loaded.preprocess is None
    assert isinstance(loaded.model, VisualBERT)
    assert loaded.model.config == KINDS[architecture]
    agree(loaded.model, theirs, architecture)


@torch.no_grad()
@pytest.mark.parametrize("architecture", KINDS)
def test_ours_goes_there(architecture: str, tmp_path: Path) -> None:
    ours = randomise(VisualBERT(KINDS[architecture]), by=0.3)
    save_model(ours, tmp_path, naming="transformers")
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.architectures == [architecture]
    agree(ours, from_ours(getattr(transformers, architecture), tmp_path), architecture)


@torch.no_grad()
@pytest.mark.parametrize("naming", ["official", "transformers"])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("architecture", KINDS)
def test_every_model_comes_back(architecture: str, early: bool, naming: str, tmp_path: Path) -> None:
    """Also without early fusion, which transformers can hold (its own forward of it is broken in 5.23)."""
    config = replace(KINDS[architecture], early_fusion=early)
    ours = randomise(VisualBERT(config), by=0.3)
    save_model(ours, tmp_path, naming=naming)
    back = load_model(tmp_path, config=config if naming == "official" else None)
    assert back.format.naming == naming
    assert back.model.config == config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, back.model.state_dict()[name]), name


def test_the_files_of_an_older_transformers(tmp_path: Path) -> None:
    """They hold the positions' numbers, and not always the copies that are tied."""
    ours = randomise(VisualBERT(KINDS["VisualBertForPreTraining"]))
    weights = save_model(ours, tmp_path, naming="transformers")
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    del state["cls.predictions.decoder.weight"], state["cls.predictions.decoder.bias"]
    save_file({**state, "visual_bert.embeddings.position_ids": torch.arange(16)[None]}, weights)
    back = load_model(tmp_path).model
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name


def test_what_transformers_has_not_is_refused(tmp_path: Path) -> None:
    model = VisualBERT(replace(TINY, pretraining=True, labels=3))
    with pytest.raises(CheckpointError, match="no VisualBERT with these heads together; save this model as official"):
        save_model(model, tmp_path, naming="transformers")
    assert not list(tmp_path.iterdir())


def test_misfits_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = save_model(VisualBERT(KINDS["VisualBertForPreTraining"]), tmp_path, naming="official")
    state = load_file(weights)
    for name, change, words in (
        ("bert.cls.seq_relationship.bias", None, r"missing: bert\.cls\.seq_relationship\.bias"),
        ("bert.cls.other", torch.zeros(1), r"unknown names in the checkpoint: bert\.cls\.other"),
        (
            "bert.bert.encoder.layer.1.output.dense.weight",
            torch.zeros(3, 3),
            r"bert\.bert\.encoder\.layer\.1\.output\.dense\.weight is \[3, 3\], should be \[24, 40\]",
        ),
        ("bert.cls.predictions.decoder.weight", torch.zeros(50, 24), "should be the same tensor as bert.bert.embedd"),
    ):
        other = {key: tensor for key, tensor in state.items() if key != name}
        save_file(other if change is None else {**other, name: change}, weights)
        with pytest.raises(CheckpointError, match=words):
            load_model(tmp_path)
