"""ViLBERT: what its users rely on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sensorium.models.vilbert import Reading, Stream, ViLBERT, ViLBERTConfig

TINY = ViLBERTConfig(
    text=Stream(width=24, depth=4, heads=3, mlp=40),
    vision=Stream(width=32, depth=2, heads=4, mlp=36),
    co_width=28,
    co_heads=2,
    meetings=((2, 0), (3, 1)),
    words=41,
    positions=20,
    features=18,
    targets=13,
)
TASKS = replace(TINY, vqa=9, gqa=7, task_tokens=5)
PLACES = torch.tensor([[0.0, 0, 1, 1, 1], [0.1, 0.1, 0.5, 0.6, 0.2], [0.5, 0, 1, 0.5, 0.25], [0, 0.5, 0.5, 1, 0.25]])


def build(config: ViLBERTConfig = TINY) -> ViLBERT:
    torch.manual_seed(0)
    return ViLBERT(config).eval().requires_grad_(False)


def inputs(texts: int = 3, pictures: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 41, (texts, 7), generator=generator)
    features = torch.randn(pictures, 4, 18, generator=generator)
    return ids, features, PLACES.expand(pictures, -1, -1)


def same(a: Reading, b: Reading) -> None:
    for name in ("pooled_text", "pooled_vision", "joint"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [TINY, replace(TINY, dynamic=True), TASKS, replace(TINY, coattention=False)])
def test_padding_changes_nothing(config: ViLBERTConfig) -> None:
    model, (ids, features, places) = build(config), inputs()
    task = torch.tensor([0, 3, 1]) if config.task_tokens else None
    longer = torch.cat([ids, torch.full((3, 4), 17)], dim=1)
    more, where = (torch.cat([t, 9 * torch.ones(3, 2, t.shape[2])], dim=1) for t in (features, places))
    mask, region_mask = torch.arange(11).expand(3, -1) < 7, torch.arange(6).expand(3, -1) < 4
    padded = model(longer, more, where, mask=mask, region_mask=region_mask, task=task)
    plain = model(ids, features, places, task=task)
    same(plain, padded)
    torch.testing.assert_close(padded.vision[:, :4], plain.vision, atol=1e-5, rtol=1e-5)
    n = plain.text.shape[1]
    torch.testing.assert_close(padded.text[:, :n], plain.text, atol=1e-5, rtol=1e-5)


def test_a_row_does_not_see_its_batch() -> None:
    model, (ids, features, places) = build(), inputs()
    whole = model(ids, features, places)
    for i in range(3):
        alone = model(ids[i : i + 1], features[i : i + 1], places[i : i + 1])
        same(alone, Reading(*(tensor[i : i + 1] for tensor in whole)))


def test_order_of_regions_does_not_matter_but_for_the_first() -> None:
    model, (ids, features, places) = build(), inputs()
    order = torch.tensor([0, 3, 1, 2])
    moved, still = model(ids, features[:, order], places[:, order]), model(ids, features, places)
    same(moved, still)
    torch.testing.assert_close(moved.vision, still.vision[:, order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [TINY, replace(TINY, dynamic=True), replace(TINY, coattention=False)])
@pytest.mark.parametrize(("texts", "pictures"), [(2, 3), (1, 3), (3, 1)])
def test_every_pair_is_each_text_with_each_picture(config: ViLBERTConfig, texts: int, pictures: int) -> None:
    model, (ids, features, places) = build(config), inputs(texts, pictures)
    mask, region_mask = torch.rand(texts, 7) < 0.7, torch.rand(pictures, 4) < 0.7
    mask[:, 0] = region_mask[:, 0] = True
    pairs = model(ids, features, places, mask=mask, region_mask=region_mask, every_pair=True)
    for i in range(texts):
        for j in range(pictures):
            t, p, row = slice(i, i + 1), slice(j, j + 1), i * pictures + j
            one = model(ids[t], features[p], places[p], mask=mask[t], region_mask=region_mask[p])
            same(one, Reading(*(tensor[row : row + 1] for tensor in pairs)))


def test_streams_meet_only_in_the_joint_vector_without_coattention() -> None:
    model, (ids, features, places) = build(replace(TINY, coattention=False)), inputs()
    a, b = model(ids, features, places), model(ids, -features, places)
    assert torch.equal(a.text, b.text)
    assert not torch.allclose(a.joint, b.joint)
    model = build()
    assert not torch.allclose(model(ids, features, places).text, model(ids, -features, places).text)


def test_the_task_is_read() -> None:
    model, (ids, features, places) = build(TASKS), inputs()
    a, b = (model(ids, features, places, task=torch.full((3,), task)) for task in (0, 4))
    assert a.text.shape[1] == ids.shape[1] + 1
    assert not torch.allclose(a.joint, b.joint)
    with pytest.raises(ValueError, match="say the task"):
        model(ids, features, places)


def test_heads() -> None:
    model, (ids, features, places) = build(TASKS), inputs(4, 4)
    region_mask = torch.tensor([[True, True, True, False]]).expand(4, -1)
    read = model(ids, features, places, region_mask=region_mask, task=torch.zeros(4, dtype=torch.long))
    heads = model.tasks
    assert heads is not None
    assert [list(heads.vqa(read.joint).shape), list(heads.gqa(read.joint).shape)] == [[4, 9], [4, 7]]
    assert heads.two_pictures(read.joint).shape == (2, 2)
    assert (heads.ground(read.vision, region_mask).argmax(1) < 3).all()
    assert model.masked_words(read.text).shape == (4, 8, 41)


def test_another_kernel_gives_the_same() -> None:
    def eager(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return (scores if attn_mask is None else scores.masked_fill(~attn_mask, -torch.inf)).softmax(-1) @ v

    model, (ids, features, places) = build(replace(TINY, dynamic=True)), inputs()
    mask = torch.arange(7).expand(3, -1) < torch.tensor([[7], [4], [2]])
    fast = model(ids, features, places, mask=mask)
    for module in model.modules():
        if hasattr(module, "kernel"):
            module.kernel = eager
    same(model(ids, features, places, mask=mask), fast)


@pytest.mark.parametrize("meetings", [(), ((3, 1), (2, 0)), ((2, 0), (5, 1)), ((2, 1), (3, 0))])
def test_meetings_go_up(meetings: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="do not go up through 4 and 2 layers"):
        ViLBERT(replace(TINY, meetings=meetings))
