from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sensorium.models.visualbert import PRESETS, VisualBERT, VisualBERTConfig

TINY = VisualBERTConfig(
    width=24, depth=3, heads=4, mlp=40, words=50, positions=16, features=10, labels=5, phrases=True, eps=1e-6
)


def build(config: VisualBERTConfig = TINY) -> VisualBERT:
    """Every number is random: what BERT begins with would hide a part that is left out."""
    torch.manual_seed(0)
    model = VisualBERT(config)
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.randn(tensor.shape) * 0.3 + ("norm" in name and name.endswith("weight")))
    return model.eval().requires_grad_(False)


def batch(n: int = 7, m: int = 4, rows: int = 3) -> tuple[Tensor, Tensor, dict[str, Any]]:
    torch.manual_seed(1)
    more = {
        "mask": torch.arange(n) < torch.tensor([n, n - 2, n - 3])[:rows, None],
        "region_mask": torch.arange(m) < torch.tensor([m - 2, m, m - 1])[:rows, None],
        "segments": torch.randint(0, 2, (rows, n)),
        "region_segments": torch.randint(0, 2, (rows, m)),
        "alignment": torch.randint(-1, n, (rows, m, 3)),
    }
    return torch.randint(0, 50, (rows, n)), torch.randn(rows, m, 10), more


def real(more: dict[str, Any]) -> Tensor:
    return torch.cat([more["mask"], more["region_mask"]], dim=1)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.fixture(params=[True, False], ids=["early", "late"])
def model(request: pytest.FixtureRequest) -> VisualBERT:
    return build(replace(TINY, early_fusion=request.param))


def test_padding_changes_nothing(model: VisualBERT) -> None:
    """Neither what stands on it nor how much of it there is."""
    ids, regions, more = batch()
    tokens = model(ids, regions, **more)
    noisy_ids = torch.where(more["mask"], ids, 49 - ids)
    noisy = torch.where(more["region_mask"][..., None], regions, 1e3 * torch.randn(regions.shape))
    seen = real(more)
    close(model(noisy_ids, noisy, **more)[seen], tokens[seen])
    wider = {
        "mask": nn.functional.pad(more["mask"], (0, 3)),
        "region_mask": nn.functional.pad(more["region_mask"], (0, 2)),
        "segments": nn.functional.pad(more["segments"], (0, 3)),
        "region_segments": nn.functional.pad(more["region_segments"], (0, 2)),
        "alignment": nn.functional.pad(more["alignment"], (0, 0, 0, 2), value=-1),
    }
    padded = nn.functional.pad(ids, (0, 3)), nn.functional.pad(regions, (0, 0, 0, 2))
    phrases = torch.tensor([[1, 2], [3, -1], [-1, 0]])
    close(model.represent(*padded, **wider), model.represent(ids, regions, **more))
    close(model.answer(*padded, **wider), model.answer(ids, regions, **more))
    grounded = model.ground(*padded, phrases, **wider)
    close(grounded[..., :4], model.ground(ids, regions, phrases, **more))
    assert (grounded[..., 4:] == torch.finfo(torch.float32).min).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.booleans())
def test_a_row_does_not_depend_on_its_batch(rows: list[int], early: bool) -> None:
    model = build(replace(TINY, early_fusion=early))
    ids, regions, more = batch()
    whole, seen = model(ids, regions, **more), real(more)
    picked = model(ids[rows], regions[rows], **{name: tensor[rows] for name, tensor in more.items()})
    close(picked[seen[rows]], whole[rows][seen[rows]])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=6), st.booleans())
def test_asking_for_some_places_gives_what_stands_there(places: list[int], early: bool) -> None:
    model = build(replace(TINY, early_fusion=early))
    ids, regions, more = batch()
    at, seen = torch.tensor([places]).expand(3, -1), real(more)[:, places]
    close(model(ids, regions, at=at, **more)[seen], model(ids, regions, **more)[:, places][seen])


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)))
def test_regions_have_no_order(order: list[int]) -> None:
    model = build()
    ids, regions, more = batch()
    moved = {name: more[name][:, order] for name in ("region_mask", "region_segments", "alignment")}
    tokens, other = model(ids, regions, **more), model(ids, regions[:, order], **{**more, **moved})
    back = [*range(7), *(7 + i for i in order)]
    seen = real(more)[:, back]
    close(other[seen], tokens[:, back][seen])


def test_padding_is_not_computed(model: VisualBERT) -> None:
    """All layers but the last see as many tokens as are real; the reading of one token sees one in the last."""
    ids, regions, more = batch()
    sizes: list[tuple[int, int]] = []
    for module in model.modules():
        if isinstance(module, nn.GELU):
            module.register_forward_hook(lambda _, inputs, out: sizes.append((len(out), out.shape[1])))
    model.represent(ids, regions, **more)
    words = int(more["mask"].sum())
    both = words + int(more["region_mask"].sum())
    assert sizes == [(1, both if model.fusion is None else words)] * (2 if model.fusion is None else 3) + [(3, 1)]


def test_masks_that_hide_nothing_are_none_at_all(model: VisualBERT) -> None:
    ids, regions, _ = batch()
    words, places = torch.ones(3, 7, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)
    plain = model(ids, regions)
    for more in ({"mask": words}, {"region_mask": places}, {"mask": words, "region_mask": places}):
        close(model(ids, regions, **more), plain)
        close(model.answer(ids, regions, **more), model.answer(ids, regions))


def test_a_sentence_without_a_picture(model: VisualBERT) -> None:
    ids, regions, _ = batch()
    none = torch.zeros(3, 4, dtype=torch.bool)
    close(model(ids, regions[:, :0]), model(ids, regions, region_mask=none)[:, :7])


def test_words_alone_do_not_see_the_picture() -> None:
    """Without early fusion no layer but the last knows of regions; with it, the first does."""
    ids, regions, more = batch()
    for early in (True, False):
        model = build(replace(TINY, early_fusion=early))
        states, other = (model.states(ids, features, **more) for features in (regions, regions + 1))
        assert len(states) == TINY.depth + 1 + (not early)
        same = [torch.equal(a[:, :7], b[:, :7]) for a, b in zip(states, other, strict=True)]
        assert same == ([True] + [False] * 3 if early else [True] * 4 + [False])
        close(states[-1][real(more)], model(ids, regions, **more)[real(more)])


def test_a_region_stands_where_its_words_stand() -> None:
    embedding = build().embedding
    position = embedding.text.position.weight
    places = embedding.place(torch.tensor([[[2, -1, -1], [-1, -1, -1], [4, 0, 0]]]))
    close(places[0], torch.stack([position[2], torch.zeros(24), (position[4] + 2 * position[0]) / 3]))
    ids, regions, _ = batch()
    nowhere = torch.full((3, 4, 2), -1)
    close(embedding(ids, regions, alignment=nowhere), embedding(ids, regions))


def test_choices_are_pairs_of_their_own() -> None:
    model = build(replace(TINY, labels=1))
    ids, regions, more = batch()
    both = {name: torch.stack([tensor, tensor.flip(0)], dim=1) for name, tensor in more.items()}
    scores = model.choose(torch.stack([ids, ids.flip(0)], 1), torch.stack([regions, regions.flip(0)], 1), **both)
    alone = model.classify(ids, regions, **more)[:, 0]
    close(scores, torch.stack([alone, alone.flip(0)], dim=1))


def test_the_answer_is_read_before_the_last_separator() -> None:
    model = build()
    ids, regions, more = batch()
    tokens, lengths = model(ids, regions, **more), more["mask"].sum(1)
    read = tokens[torch.arange(3), lengths - 2]
    assert isinstance(model.classifier, nn.Linear)
    close(model.answer(ids, regions, **more), model.classifier(read))


def weighing(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """The same attention, spelt out: what insight puts in to see the weights."""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    return scores.softmax(-1) @ v


def test_an_eager_kernel_agrees(model: VisualBERT) -> None:
    ids, regions, more = batch()
    fast, some = model(ids, regions, **more), model(ids, regions, at=torch.tensor([[0], [3], [1]]), **more)
    for block in [*model.blocks, *([model.fusion] if model.fusion else [])]:
        block.attention.kernel = weighing  # type: ignore[union-attr]
    close(model(ids, regions, **more)[real(more)], fast[real(more)])
    close(model(ids, regions, at=torch.tensor([[0], [3], [1]]), **more), some)


def test_heads_that_are_not_there_say_so() -> None:
    model = build(replace(TINY, pretraining=False, labels=0, phrases=False))
    ids, regions, _ = batch()
    places = torch.zeros(3, 1, dtype=torch.int64)
    for call in (
        lambda: model.pretrain(ids, regions, places),
        lambda: model.answer(ids, regions),
        lambda: model.classify(ids, regions),
        lambda: model.ground(ids, regions, places),
    ):
        with pytest.raises(ValueError, match="built without"):
            call()
    assert model.represent(ids, regions).shape == (3, 24)


def test_a_word_that_is_no_argument_is_refused() -> None:
    ids, regions, _ = batch()
    with pytest.raises(TypeError, match="msk"):
        build()(ids, regions, msk=None)  # type: ignore[call-arg]


def test_every_weight_learns_but_those_that_are_published_unused() -> None:
    model = VisualBERT(TINY)
    ids, regions, more = batch()
    words, matching = model.pretrain(ids, regions, torch.tensor([[1], [2], [3]]), **more)
    total = words.sum() + matching.sum() + model.answer(ids, regions, **more).square().sum()
    total = (
        total + model.ground(ids, regions, torch.tensor([[1], [2], [3]]), **more)[more["region_mask"][:, None]].sum()
    )
    total.backward()
    still = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert still == {"grounding.value.weight", "grounding.value.bias"}


def test_regions_begin_as_words() -> None:
    embedding = VisualBERT(TINY).embedding
    assert torch.equal(embedding.region_position.weight, embedding.text.position.weight)
    assert torch.equal(embedding.region_segment.weight, embedding.text.segment.weight)
    assert embedding.region_segment.weight is not embedding.text.segment.weight
    assert 0.01 < embedding.text.word.weight.std() < 0.03


def test_presets_are_the_published_ones() -> None:
    assert {config.features for name, config in PRESETS.items() if "nlvr2" in name} == {1024}
    assert {config.features for name, config in PRESETS.items() if "vcr" in name} == {512}
    assert PRESETS["visualbert-vqa"].labels == 3129
    assert not PRESETS["visualbert-vqa"].pretraining
