import torch

from sensorium.tasks.video_embedding import embed_sequences, pad, score_seconds, second_features, text_ids
from tests import tiny_video


def test_batches_give_what_each_gives_alone() -> None:
    model = tiny_video.videoclip()
    clips = [torch.randn(n, 12) for n in (5, 1, 8, 3, 3, 7)]
    vectors = embed_sequences(model.video, clips, batch=2)
    for clip, vector in zip(clips, vectors, strict=True):
        alone = model.video(clip[None], torch.ones(1, len(clip), dtype=torch.bool))[0]
        torch.testing.assert_close(vector, alone, atol=2e-5, rtol=1e-4)
    texts = text_ids([[5, 6], [7, 8, 9, 10, 11]], 2, 3, most=4)
    assert [text.tolist() for text in texts] == [[2, 5, 6, 3], [2, 7, 8, 9, 10, 3]]
    assert embed_sequences(model.text, texts).shape == (2, 64)


def test_nothing_is_computed_beyond_the_longest_of_a_batch() -> None:
    seen: list[tuple[int, ...]] = []

    def encode(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(mask.shape))
        return mask.sum(1, keepdim=True).float()

    lengths = [9, 1, 8, 2]
    vectors = embed_sequences(encode, [torch.zeros(n, 3) for n in lengths], batch=2)
    assert vectors[:, 0].tolist() == lengths
    assert seen == [(2, 2), (2, 9)]


def test_padding_is_masked() -> None:
    batch, mask = pad([torch.ones(2, 3), torch.ones(1, 3)])
    assert batch.shape == (2, 2, 3)
    assert mask.tolist() == [[True, True], [True, False]]


def test_a_long_video_is_read_through_windows() -> None:
    model, labels = tiny_video.videoclip(), torch.randn(5, 64)
    features = torch.randn(19, 12)
    scores = score_seconds(model.seconds, features, labels, step=4, size=8)
    assert scores.shape == (19, 5)
    first = model.seconds(features[None, :8], torch.ones(1, 8, dtype=torch.bool))[0, 1:-1] @ labels.T
    torch.testing.assert_close(scores[:4], first[:4], atol=1e-4, rtol=1e-4)


def test_one_vector_a_second() -> None:
    frames = torch.randint(0, 256, (7, 8, 8, 3), dtype=torch.uint8)
    clips: list[torch.Tensor] = []

    def encode(video: torch.Tensor) -> torch.Tensor:
        clips.append(video)
        return video.mean((2, 3, 4))

    vectors = second_features(encode, frames, fps=4, unit=True)
    assert [tuple(clip.shape) for clip in clips] == [(1, 3, 4, 8, 8)] * 2
    assert torch.equal(clips[1][0, :, 2], frames[6].permute(2, 0, 1) / 255)
    assert not clips[1][0, :, 3].any()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
