"""What happens in each second of a video: COIN's action segmentation and CrossTask's step localisation, as VideoCLIP
(https://arxiv.org/abs/2109.14084, section 4) measures them without training.

Long videos are read through overlapping windows. Labels are texts; 0 is background, label i is text i - 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def windows(seconds: int, step: int, size: int) -> list[tuple[int, int]]:
    """Begin and end of the windows of `size` seconds, every `step` seconds until the rest of the video fits in one."""
    count = 1 + max(0, ceil((seconds - size) / step))
    return [(i * step, min(i * step + size, seconds)) for i in range(count)]


def average_windows(
    scores: Sequence[Float[Tensor, "_ labels"]], seconds: int, step: int, size: int
) -> Float[Tensor, "seconds labels"]:
    """Scores of every second: the mean over the windows that saw it. Raises ValueError for other windows."""
    spans = windows(seconds, step, size)
    if [len(s) for s in scores] != [end - begin for begin, end in spans]:
        raise ValueError(f"windows of {[len(s) for s in scores]} seconds do not cut {seconds} seconds as {spans}")
    total = scores[0].new_zeros(seconds, scores[0].shape[1])
    seen = scores[0].new_zeros(seconds, 1)
    for (begin, end), score in zip(spans, scores, strict=True):
        total[begin:end] += score
        seen[begin:end] += 1
    return total / seen


def background_threshold(labels: Float[Tensor, "labels d"]) -> Float[Tensor, ""]:
    """The largest similarity of two different label texts: a second must be more alike to one than they are."""
    apart = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return (labels @ labels.mT)[apart].max()


def segment(scores: Float[Tensor, "seconds labels"], threshold: Float[Tensor, ""]) -> Int[Tensor, "seconds"]:
    """The label of every second; background where the best score is not above the threshold."""
    best, label = scores.max(1)
    return torch.where(best > threshold, label + 1, 0)


Segment = tuple[int, float, float]  # step or label from 1, begin and end in seconds


def covered(begin: float, end: float, seconds: int) -> slice:
    """The seconds that a segment touches."""
    return slice(max(0, floor(begin)), min(ceil(end), seconds))


def steps_at(segments: Iterable[Segment], seconds: int, steps: int) -> Bool[Tensor, "seconds steps"]:
    """CrossTask's ground truth: which steps are annotated in which second."""
    truth = torch.zeros(seconds, steps, dtype=torch.bool)
    for step, begin, end in segments:
        truth[covered(begin, end, seconds), step - 1] = True
    return truth


def labels_at(segments: Iterable[Segment], seconds: int) -> Int[Tensor, "seconds"]:
    """COIN's ground truth: one label a second, 0 between the segments."""
    truth = torch.zeros(seconds, dtype=torch.long)
    for label, begin, end in segments:
        truth[covered(begin, end, seconds)] = label
    return truth


def frame_accuracy(predicted: Sequence[Int[Tensor, "_"]], truth: Sequence[Int[Tensor, "_"]]) -> float:
    """COIN's measure: the fraction of right seconds over all videos together, background included."""
    return (torch.cat(list(predicted)) == torch.cat(list(truth))).double().mean().item()


def localise(scores: Float[Tensor, "seconds steps"]) -> Bool[Tensor, "seconds steps"]:
    """CrossTask's decoding: every step takes exactly one second, in the known order, with the largest sum of
    log-softmax scores; the seconds between are background and cost nothing.

    Dynamic programming over seconds and steps. Raises ValueError for fewer seconds than steps.
    """
    seconds, steps = scores.shape
    if seconds < steps:
        raise ValueError(f"{steps} steps do not fit into {seconds} seconds")
    gain = scores.log_softmax(1).double().cpu()
    best = torch.zeros(seconds + 1, dtype=torch.double)  # of the steps so far, within the first t seconds
    arrivals: list[Tensor] = []
    for step in range(steps):
        value, at = (best[:-1] + gain[:, step]).cummax(0)
        arrivals.append(at)
        best = torch.cat([value.new_full((1,), -torch.inf), value])
    chosen, until = torch.zeros(seconds, steps, dtype=torch.bool), seconds
    for step in reversed(range(steps)):
        until = int(arrivals[step][until - 1])
        chosen[until, step] = True
    return chosen


@dataclass(frozen=True)
class Localised:
    """One video of CrossTask: its task, the chosen seconds and the annotated ones."""

    task: str
    chosen: Bool[Tensor, "seconds steps"]
    truth: Bool[Tensor, "seconds steps"]


def step_recall(videos: Iterable[Localised]) -> dict[str, float]:
    """CrossTask's measure by task: chosen seconds inside a segment of their step, over the steps that occur.

    The published number is the mean over tasks. A task without any annotated step is left out.
    """
    hits: dict[str, tuple[int, int]] = {}
    for video in videos:
        hit, of = hits.get(video.task, (0, 0))
        found = (video.chosen & video.truth).any(0).sum()
        hits[video.task] = (hit + int(found), of + int(video.truth.any(0).sum()))
    return {task: hit / of for task, (hit, of) in hits.items() if of}
