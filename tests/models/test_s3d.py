"""S3D: any even size of clip, and what its stem leaves out."""

import pytest
import torch

from sensorium.models.s3d import S3D, blocks_to_channels
from tests import tiny_video


@pytest.fixture(scope="module")
def model() -> S3D:
    built = tiny_video.build(tiny_video.S3D_TEXT)
    assert isinstance(built, S3D)
    return built


@pytest.mark.parametrize("sides", [(4, 32, 32), (10, 34, 46)])
def test_any_even_size(model: S3D, sides: tuple[int, int, int]) -> None:
    video = torch.rand(2, 3, *sides)
    vectors = model(video)
    assert vectors.shape == (2, 16)
    torch.testing.assert_close(model(video[1:])[0], vectors[1], atol=1e-5, rtol=1e-4)
    assert model.maps(video)["stem"].shape[2] == sides[0] // 2


def test_odd_sizes_are_refused(model: S3D) -> None:
    with pytest.raises(ValueError, match="must be even"):
        model(torch.rand(1, 3, 4, 33, 32))


def test_blocks_keep_every_pixel() -> None:
    video = torch.arange(2 * 2 * 4 * 4.0).reshape(1, 2, 2, 4, 4)
    blocks = blocks_to_channels(video)
    assert blocks.shape == (1, 16, 1, 2, 2)
    assert torch.equal(blocks[0, :, 0, 0, 0][:4], torch.tensor([0.0, 32.0, 1.0, 33.0]))  # two colours of two neighbours
    assert torch.equal(blocks.flatten().sort().values, video.flatten())


def test_sentences_and_clips_share_a_space(model: S3D) -> None:
    assert model.text is not None
    assert model.text(torch.tensor([[1, 2, 0], [3, 0, 0]])).shape == (2, 16)
