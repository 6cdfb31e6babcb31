"""ImageBind: any subset of modalities, clips averaged as the reference does, plain words where something is missing."""

from itertools import chain, combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.models.imagebind import MODALITIES, PRESETS, ImageBind, ImageBindConfig
from tests import tiny

INPUTS = {
    "vision": torch.randn(2, 3, 32, 32),
    "text": torch.tensor([[62, 5, 63, 0], [62, 7, 8, 63]]),
    "audio": torch.randn(2, 1, 32, 44),
    "depth": torch.randn(2, 1, 32, 32),
    "thermal": torch.randn(2, 1, 32, 32),
    "imu": torch.randn(2, 6, 64),
}


@pytest.fixture(scope="module")
def model() -> ImageBind:
    model = tiny.build(tiny.IMAGEBIND)
    assert isinstance(model, ImageBind)
    return model


@pytest.mark.parametrize(
    "some", list(chain.from_iterable(combinations(MODALITIES, n) for n in (1, 2))), ids=lambda some: "+".join(some)
)
def test_any_subset_builds_and_computes_the_same(some: tuple[str, ...], model: ImageBind) -> None:
    part = ImageBind(tiny.IMAGEBIND.only(*some)).eval()
    names = set(part.state_dict())
    part.load_state_dict({key: tensor for key, tensor in model.state_dict().items() if key in names})
    whole = model({key: INPUTS[key] for key in some})
    for modality, vectors in part({key: INPUTS[key] for key in some}).items():
        assert torch.equal(vectors, whole[modality])


def test_a_missing_modality_is_named(model: ImageBind) -> None:
    part = ImageBind(tiny.IMAGEBIND.only("text", "audio"))
    with pytest.raises(ValueError, match="without depth; it has text, audio"):
        part.embed("depth", INPUTS["depth"])
    with pytest.raises(ValueError, match="no modality smell"):
        tiny.IMAGEBIND.only("smell")
    with pytest.raises(ValueError, match="without any modality"):
        ImageBindConfig().only()


def test_lengths_are_the_scales(model: ImageBind) -> None:
    expected = {"vision": 1.0, "text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
    for modality, vectors in model(INPUTS).items():
        torch.testing.assert_close(vectors.norm(dim=-1), torch.full((2,), expected[modality]))


def test_learned_scale_is_clipped(model: ImageBind) -> None:
    other = ImageBind(tiny.IMAGEBIND.only("text")).eval()
    other.scales["text"].log.data.fill_(9.0)
    torch.testing.assert_close(other.embed("text", INPUTS["text"]).norm(dim=-1), torch.full((2,), 100.0))
    assert {name for name, _ in model.scales.named_parameters()} == {"text.log"}


@pytest.mark.parametrize("modality", [m for m in MODALITIES if m != "text"])
def test_clips_are_averaged_after_scaling(modality: str, model: ImageBind) -> None:
    x = INPUTS[modality]
    clips = torch.stack([x, torch.randn_like(x), torch.randn_like(x)], dim=1)
    mean = torch.stack([model.embed(modality, clip) for clip in clips.unbind(1)]).mean(0)
    torch.testing.assert_close(model.embed(modality, clips), mean)
    assert not torch.allclose(F.normalize(mean, dim=-1), mean)


def test_a_picture_is_a_film_of_two_equal_frames(model: ImageBind) -> None:
    picture = INPUTS["vision"]
    film = picture[:, None, :, None].expand(-1, 1, -1, 2, -1, -1)
    torch.testing.assert_close(model.embed("vision", film), model.embed("vision", picture))


def test_batch_does_not_matter(model: ImageBind) -> None:
    for modality, x in INPUTS.items():
        both = model.embed(modality, x)
        alone = torch.cat([model.embed(modality, row[None]) for row in x])
        torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)


def test_padding_of_a_text_does_not_matter(model: ImageBind) -> None:
    padded = F.pad(INPUTS["text"], (0, 12))
    torch.testing.assert_close(model.embed("text", padded), model.embed("text", INPUTS["text"]))


def test_pictures_of_any_size_and_nothing_else(model: ImageBind) -> None:
    assert model.embed("vision", torch.randn(1, 3, 48, 24)).shape == (1, 24)
    with pytest.raises(ValueError, match=r"reads inputs of \(32, 44\), not \(32, 64\)"):
        model.embed("audio", torch.randn(1, 1, 32, 64))
    with pytest.raises(ValueError, match=r"reads batches of \(3, 2, 32, 32\), not of"):
        model.embed("vision", torch.randn(2, 3, 2, 32, 32))  # a film without its axis of clips
    with pytest.raises(ValueError, match="reads inputs of"):
        model.embed("vision", torch.randn(1, 1, 3, 4, 32, 32))


def test_an_eager_kernel_agrees(model: ImageBind) -> None:
    def eager(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return (scores if attn_mask is None else scores.masked_fill(~attn_mask, -torch.inf)).softmax(-1) @ v

    other = ImageBind(tiny.IMAGEBIND).eval()
    other.load_state_dict(model.state_dict())
    for tower in other.towers.values():
        for block in tower.blocks:
            block.attention.kernel = eager
    for modality, vectors in other(INPUTS).items():
        torch.testing.assert_close(vectors, model.embed(modality, INPUTS[modality]), atol=1e-5, rtol=1e-5)


def test_huge_trunks_have_the_tokens_of_the_paper() -> None:
    huge = PRESETS["imagebind-huge"]
    with torch.device("meta"):
        towers = ImageBind(huge.only("audio", "depth", "thermal", "imu")).towers
    assert {name: len(tower.positions) - 1 for name, tower in towers.items()} == {
        "audio": 228,
        "depth": 196,
        "thermal": 196,
        "imu": 250,
    }
