"""LayoutLMv2: what its users rely on."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sensorium.models.document_heads import PretrainingHead, RelationHead
from sensorium.models.layoutlmv2 import BASE, LayoutLMv2, bucket
from sensorium.nn.attention import Attention
from tests import tiny_layoutlmv2 as tiny


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("line", tiny.CONFIGS)
def test_padding_changes_nothing(line: str) -> None:
    model, page = tiny.build(tiny.CONFIGS[line]), tiny.pages(2, 9)
    n = int(page.mask[1].sum())
    both = model.read(*page)
    alone = model.read(page.ids[1:, :n], page.boxes[1:, :n], page.image[1:])
    close(both.text[1:, :n], alone.text)
    close(both.visual[1:], alone.visual)
    other = page.ids.clone()
    other[~page.mask] = 7
    close(model(other, page.boxes, page.image, page.mask), model(*page))


def test_a_page_does_not_see_the_others_of_its_batch() -> None:
    model, page = tiny.build(tiny.BASE), tiny.pages(3)
    whole = model(*page)
    for index in range(3):
        row = slice(index, index + 1)
        close(whole[row], model(*(part[row] for part in page)))


def test_a_mask_of_all_words_is_no_mask() -> None:
    for config in tiny.CONFIGS.values():
        model, page = tiny.build(config), tiny.pages(1)
        close(model(page.ids, page.boxes, page.image), model(*page))


def test_words_boxes_and_picture_all_count() -> None:
    model, page = tiny.build(tiny.BASE), tiny.pages(1)
    seen = model(*page)
    for changed in (
        page._replace(ids=page.ids.flip(1)),
        page._replace(boxes=page.boxes // 2),
        page._replace(image=255 - page.image),
    ):
        assert not torch.allclose(model(*changed), seen, atol=1e-3)


def test_a_kernel_that_shows_its_weights_agrees() -> None:
    model, page = tiny.build(tiny.BASE), tiny.pages()
    expected, shown = model(*page), list[Tensor]()

    def eager(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
        weights = (q @ k.mT / q.shape[-1] ** 0.5 + attn_mask).softmax(-1)
        shown.append(weights)
        return weights @ v

    for module in model.modules():
        if isinstance(module, Attention):
            module.kernel = eager
    close(model(*page), expected)
    assert len(shown) == tiny.BASE.depth
    padding = ~F.pad(page.mask, (0, 49), value=True)
    assert not shown[0].transpose(1, 3)[padding].any()


def test_biases_are_made_once_a_page_not_once_a_layer() -> None:
    model, page = tiny.build(replace(tiny.BASE, depth=4)), tiny.pages()
    calls: list[int] = []
    model.bias.register_forward_hook(lambda *_: calls.append(1))
    masks: list[int] = []
    for block in model.blocks:
        kernel = F.scaled_dot_product_attention

        def listen(*qkv: Tensor, attn_mask: Tensor, kernel=kernel) -> Tensor:  # type: ignore[no-untyped-def]
            masks.append(attn_mask.data_ptr())
            return kernel(*qkv, attn_mask=attn_mask)

        block.attention.kernel = listen  # type: ignore[union-attr]
    model(*page)
    assert len(calls) == 1
    assert len(masks) == 4
    assert len(set(masks)) == 1


def test_layoutxlm_masks_with_booleans() -> None:
    model, page = tiny.build(tiny.XLM), tiny.pages()
    positions = torch.arange(9)
    assert model.bias(positions, page.boxes, None) is None
    mask = model.bias(positions, page.boxes, page.mask)
    assert mask is not None
    assert mask.dtype == torch.bool


@given(
    st.lists(st.integers(-3000, 3000), min_size=1, max_size=20),
    st.sampled_from([(32, 128), (64, 256), (16, 64)]),
    st.booleans(),
)
def test_buckets_stay_in_their_table_and_in_order(distances: list[int], sizes: tuple[int, int], both: bool) -> None:
    bins, reach = sizes
    distance = torch.tensor(sorted(distances))
    found = bucket(distance, bins, reach, both_ways=both)
    assert 0 <= int(found.min()) <= int(found.max()) < bins
    later = found[distance >= 1]
    before = found[distance <= 0]
    assert torch.equal(before, before.sort(descending=True).values)
    assert torch.equal(later, later.sort().values)
    if both:
        assert (later >= bins // 2).all()
        assert torch.equal(bucket(-distance[distance >= 1], bins, reach) + bins // 2, later)


def test_grid_covers_the_page() -> None:
    cells = LayoutLMv2(replace(tiny.BASE, grid=(2, 3))).cells()[0]
    assert cells.tolist() == [
        [0, 0, 333, 500],
        [333, 0, 666, 500],
        [666, 0, 1000, 500],
        [0, 500, 333, 1000],
        [333, 500, 666, 1000],
        [666, 500, 1000, 1000],
    ]


def test_a_box_off_the_page_is_an_error() -> None:
    model, page = tiny.build(tiny.BASE), tiny.pages(1)
    for wrong in ([0, 0, 1030, 5], [5, 5, 4, 9]):
        boxes = page.boxes.clone()
        boxes[0, 3] = torch.tensor(wrong)
        with pytest.raises(IndexError):
            model(page.ids, boxes, page.image)


def test_stored_statistics_are_the_constants() -> None:
    stored = tiny.build(tiny.BASE)
    constant = LayoutLMv2(replace(tiny.BASE, page=replace(tiny.PAGE, statistics=False))).eval()
    state = stored.state_dict()
    missing = {name: torch.empty(0) for name in ("page.mean", "page.deviation")}
    constant.load_state_dict(state | missing)
    page = tiny.pages()
    close(stored(*page), constant(*page))


def test_relations_of_a_page() -> None:
    model, page = tiny.build(replace(tiny.BASE, head="relations", labels=2)), tiny.pages()
    head, text = model.head, model.read(*page).text
    assert isinstance(head, RelationHead)
    starts, kinds = torch.tensor([1, 3, 4]), torch.tensor([1, 2, 2])
    both = head(text[0], starts, kinds, torch.tensor([[0, 1], [0, 2]]))
    assert both.shape == (2, 2)
    close(both[1:], head(text[0], starts, kinds, torch.tensor([[0, 2]])))


def test_pretraining_answers_three_questions() -> None:
    model, page = tiny.build(replace(tiny.BASE, head="pretraining")), tiny.pages()
    assert isinstance(model.head, PretrainingHead)
    words, covered, matching = model.head(model.read(*page), model.embedding.word.weight)
    assert [tuple(x.shape) for x in (words, covered, matching)] == [(2, 9, 43), (2, 9, 2), (2, 2)]


def test_layout_parts_make_a_width() -> None:
    assert 4 * BASE.coordinate + 2 * BASE.shape == BASE.width
    with pytest.raises(ValueError, match="4 coordinates of 4 and 2 sides of 8 are 32 wide, not 24"):
        LayoutLMv2(replace(tiny.BASE, shape=8))


def test_gradients_reach_every_parameter_but_the_unused_levels_of_the_pyramid() -> None:
    model, page = tiny.build(replace(tiny.BASE, head="pretraining")).requires_grad_(True), tiny.pages()
    assert isinstance(model.head, PretrainingHead)
    read = model.read(*page)
    scores = model.head(read, model.embedding.word.weight)
    (sum(score.square().mean() for score in scores) + model.pooler(read.text[:, 0]).sum()).backward()  # type: ignore
    without = {name for name, parameter in model.named_parameters() if parameter.numel() and parameter.grad is None}
    assert without == {f"page.pyramid.outputs.{level}.{part}" for level in (1, 2, 3) for part in ("weight", "bias")}
