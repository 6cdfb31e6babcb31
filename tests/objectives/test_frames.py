import torch
import torch.nn.functional as F

from sensorium.objectives.contrastive import contrastive, one_way
from sensorium.objectives.frames import frame_scores, masked_frames, masked_tokens


def test_the_right_frame_scores_first() -> None:
    frames = 5 * torch.eye(6)
    scores = frame_scores(frames[:2], frames[:2], frames[2:])
    assert scores.shape == (2, 5)
    assert masked_frames(scores) < 1e-4
    assert masked_frames(frame_scores(frames[2:4], frames[:2], frames[2:])) > 10


def test_nothing_covered_costs_nothing() -> None:
    nothing = torch.zeros(0, 4, requires_grad=True)
    loss = masked_frames(frame_scores(nothing, nothing, torch.randn(3, 4)))
    loss.backward()
    assert loss == 0
    words = torch.zeros(0, 7)
    assert masked_tokens(torch.zeros(0, 4), words, words, torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)) == 0


def test_one_mean_over_words_and_frames() -> None:
    torch.manual_seed(0)
    frames, as_words, words, as_frames = (torch.randn(2, 4), torch.randn(2, 7), torch.randn(3, 7), torch.randn(3, 3))
    labels = torch.tensor([1, 6, 0])
    rows = torch.cat([torch.cat([frames, as_words], 1), torch.cat([words, as_frames, torch.zeros(3, 1)], 1)])
    expected = F.cross_entropy(rows, torch.tensor([0, 0, 1, 6, 0]))
    torch.testing.assert_close(masked_tokens(frames, as_words, words, as_frames, labels), expected)


def test_both_ways_are_two_times_one_way() -> None:
    a, b = torch.randn(5, 8), torch.randn(5, 8)
    torch.testing.assert_close((one_way(a, b) + one_way(b, a)) / 2, contrastive(a, b, torch.tensor(1.0)))
