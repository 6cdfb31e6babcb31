"""Pages as LayoutLMv2 is shown them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.page import page_picture, thousandths


def test_blue_comes_first_and_nothing_is_scaled() -> None:
    orange = Image.new("RGB", (300, 400), (250, 120, 10))
    picture = page_picture(orange)
    assert picture[:, 100, 100].tolist() == [10, 120, 250]
    assert torch.equal(page_picture(np.asarray(orange)), picture)


def test_the_picture_is_that_of_transformers() -> None:
    module = pytest.importorskip("transformers.models.layoutlmv2.image_processing_pil_layoutlmv2")
    pixels = np.random.default_rng(0).integers(0, 256, (310, 270, 3), dtype=np.uint8)
    theirs = module.LayoutLMv2ImageProcessorPil(apply_ocr=False)(Image.fromarray(pixels), return_tensors="pt")
    assert torch.equal(page_picture(pixels), theirs["pixel_values"][0].float())


@given(st.lists(st.floats(-50, 2000), min_size=4, max_size=4), st.floats(1, 1500), st.floats(1, 1500))
def test_boxes_are_on_the_page_and_the_right_way_up(box: list[float], width: float, height: float) -> None:
    x0, y0, x1, y1 = thousandths(box, width, height)
    assert 0 <= x0 <= x1 <= 1000
    assert 0 <= y0 <= y1 <= 1000


def test_boxes_are_rounded_down_as_the_reference_does() -> None:
    assert thousandths((10, 20, 333.4, 799), 500, 800) == (20, 25, 666, 998)
    with pytest.raises(ValueError, match="0 x 800"):
        thousandths((0, 0, 1, 1), 0, 800)
