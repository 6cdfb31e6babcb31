import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.data import preprocess as pre
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from tests.conformance.weights import load_case
from tests.hostile import picture

SIZES = [(640, 480), (480, 640), (224, 224), (225, 229), (100, 37), (61, 97), (223, 500), (1023, 301), (7, 5)]


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def transformers_pil(module, name, **options):
    pytest.importorskip("transformers")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        pytest.skip(f"this transformers has no {name}")
    return lambda image: torch.as_tensor(np.asarray(found(**options)(image)["pixel_values"][0]))


@pytest.mark.parametrize("size", SIZES)
def test_clip_equals_transformers(size):
    reference = transformers_pil("transformers.models.clip.image_processing_pil_clip", "CLIPImageProcessorPil")
    image = Image.fromarray(noise(*size))
    ours = pre.from_transformers({"image_processor_type": "CLIPImageProcessor"})
    torch.testing.assert_close(ours(image), reference(image), atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_vit_equals_transformers(size):
    reference = transformers_pil("transformers.models.vit.image_processing_pil_vit", "ViTImageProcessorPil")
    image = Image.fromarray(noise(*size))
    torch.testing.assert_close(pre.vit()(image), reference(image), atol=2e-6, rtol=0)


@pytest.mark.parametrize("side", [32, 33, 50])
def test_an_image_smaller_than_the_crop_is_framed_in_black_as_transformers_does(side):
    config = {"size": {"shortest_edge": side}, "crop_size": {"height": 64, "width": 64}, "do_center_crop": True}
    reference = transformers_pil(
        "transformers.models.clip.image_processing_pil_clip", "CLIPImageProcessorPil", **config
    )
    steps = pre.from_transformers(config)
    for size in ((90, 60), (60, 91), (40, 200)):
        image = Image.fromarray(noise(*size))
        torch.testing.assert_close(steps(image), reference(image), atol=2e-6, rtol=0)
        assert (steps.fast(image).int() - steps.pixels(image).int()).abs().max() <= 2


def test_the_official_case():
    case = load_case("clip_preprocess")
    steps = pre.clip(case.config["image_resolution"])
    for name, image in case.inputs.items():
        torch.testing.assert_close(steps(image.numpy()), case.outputs[name], **case.tolerance)


def test_the_long_side_is_cut_and_the_margin_rounded_half_to_even():
    steps = pre.clip(224)
    assert steps.resized(1000, 667) == (335, 224)
    assert steps.resized(667, 1000) == (224, 335)
    assert [steps.offset(n) for n in (224, 225, 226, 227, 229)] == [0, 0, 1, 2, 2]
    assert [pre.vit(224).offset(n) for n in (225, 227, 223)] == [0, 1, -1]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.sampled_from([32, 64, 224]),
    st.sampled_from([pre.clip, pre.vit, pre.timm, pre.efficientnet_lite]),
    st.integers(0, 9),
)
def test_fast_stays_within_a_level_of_pillow(width, height, size, kind, seed):
    steps, image = kind(size), noise(width, height, seed)
    gap = (steps.fast(image).int() - steps.pixels(image).int()).abs()
    assert gap.max() <= 2
    assert (gap > 1).float().mean() < 1e-3  # a few pixels of noise, none of a photograph
    assert steps.fast(image).shape == (3, size, size)


@pytest.mark.parametrize("size", [(600, 400), (300, 900), (56, 40), (1024, 768), (131, 397)])
def test_fast_on_a_picture_is_within_one_level_nearly_everywhere(size):
    image = picture(*size)
    for steps in (pre.clip(), pre.vit(), pre.timm(), pre.efficientnet_lite(260)):
        gap = (steps.fast(image).int() - steps.pixels(image).int()).abs()
        assert gap.max() <= 2
        assert (gap > 1).float().mean() < 1e-4


@pytest.mark.parametrize("shape", [(65_500, 1), (1, 65_500), (20_000, 2)])
def test_extreme_shapes_cost_no_gigabytes(shape):
    image = np.linspace(0, 255, shape[0] * shape[1]).astype(np.uint8).reshape(shape)
    for steps in (pre.clip(), pre.vit()):
        for way in (steps.pixels, steps.fast):
            assert way(image).shape == (3, 224, 224)
    middle = float(image.mean())
    assert abs(pre.clip().fast(image).float().mean() - middle) < 2


def test_cropping_first_equals_cropping_last(monkeypatch):
    image = picture(640, 200)
    whole = pre.clip(64).pixels(image)
    monkeypatch.setattr(pre, "WHOLE_LIMIT", 0)
    assert (pre.clip(64).pixels(image).int() - whole.int()).abs().max() <= 1


def test_a_batch_is_normalised_at_once():
    steps = pre.clip(32)
    images = [noise(50, 40, seed) for seed in range(3)]
    batch = steps.normalise(torch.stack([steps.pixels(image) for image in images]))
    torch.testing.assert_close(batch, torch.stack([steps(image) for image in images]))


def test_efficientnet_lite_sees_one_margin_and_one_scale():
    steps = pre.efficientnet_lite(260)
    assert steps.resized(800, 600)[1] == 292
    gray = steps(np.full((300, 300, 3), 191, np.uint8))
    torch.testing.assert_close(gray, torch.full((3, 260, 260), 0.5))


STEPS = [
    pre.clip(),
    pre.clip(336),
    pre.vit(),
    pre.timm(),
    pre.timm(384, 1.0, mean=pre.IMAGENET_MEAN, std=pre.IMAGENET_STD),
    pre.efficientnet_lite(260),
    Preprocess(224, "squash", 256, "lanczos"),
]


@pytest.mark.parametrize("steps", STEPS)
def test_transformers_files_go_both_ways(steps):
    assert pre.from_transformers(pre.to_transformers(steps)) == steps


def test_open_clip_files_go_both_ways():
    for steps in (pre.clip(), pre.clip(336), Preprocess(378, "squash", None, "bicubic", pre.HALF, pre.HALF)):
        assert pre.from_open_clip(pre.to_open_clip(steps)) == steps
    with pytest.raises(SensoriumError, match="one size"):
        pre.to_open_clip(pre.timm())


def test_timm_files_go_both_ways():
    """What is read back was compared with timm's own transform, pixel by pixel, when this was written."""
    for size, to in ((224, 256), (224, 248), (97, 101), (518, None), (384, 439)):
        for resize in ("short", "squash"):
            steps = Preprocess(size, resize, to, "bilinear", pre.HALF, pre.CLIP_STD, rgb="before")
            written = {"pretrained_cfg": pre.to_timm(steps)}
            assert pre.from_timm(written, size, 0.9, mean=pre.CLIP_MEAN, std=pre.HALF) == steps
    assert pre.from_timm({}, 224, 0.9, mean=pre.HALF, std=pre.HALF) == pre.timm()
    with pytest.raises(SensoriumError, match="crop_mode='border': center and squash are known"):
        pre.from_timm({"crop_mode": "border"}, 224, 1.0, mean=pre.HALF, std=pre.HALF)


def test_published_files_of_every_age_are_read():
    old = {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, "size": 224}
    old |= {"feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.1] * 3, "image_std": [0.2] * 3}
    assert pre.from_transformers(old | {"resample": 3}) == Preprocess(
        mean=(0.1,) * 3, std=(0.2,) * 3, rgb="before", centre="floor"
    )
    vit = {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224}
    assert pre.from_transformers(vit) == pre.vit()
    assert pre.from_transformers(vit | {"size": {"height": 384, "width": 384}, "resample": 2}) == pre.vit(384)
    assert pre.from_transformers(vit | {"do_normalize": False}).std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"do_pad": True}, "do_pad=True"),
        ({"do_resize": False}, "do_resize is false"),
        ({"rescale_factor": 1 / 127.5}, "only 1/255"),
        ({"size": {"height": 224, "width": 448}}, "only square"),
        ({"size": {"longest_edge": 224}}, "only square"),
        ({"resample": 9}, "interpolation 9"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"size": {"shortest_edge": 224}, "do_center_crop": False}, "sizes would vary"),
    ],
)
def test_a_step_that_cannot_be_taken_is_named(change, words):
    with pytest.raises(SensoriumError, match=words):
        pre.from_transformers({"image_processor_type": "ViTImageProcessor", "size": 224} | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize_mode": "longest"}, "longest"),
        ({"mode": "L"}, "only RGB"),
        ({"patch": 3}, "patch=3"),
        ({"mean": 3}, "mean"),
    ],
)
def test_open_clip_steps_that_cannot_be_taken_are_named(change, words):
    with pytest.raises(SensoriumError, match=words):
        pre.from_open_clip({"size": 224} | change)


def test_a_typo_in_a_field_is_refused():
    for wrong in ({"size": 0}, {"resize": "long"}, {"interpolation": "cubic"}, {"rgb": "never"}, {"resize_to": -1}):
        with pytest.raises(SensoriumError, match=next(iter(wrong))):
            Preprocess(**wrong)
