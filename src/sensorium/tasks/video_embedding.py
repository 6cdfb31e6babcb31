"""From decoded frames to vectors of seconds, clips and texts, in batches that pad to their own longest only."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sensorium.tasks.video_segmentation import average_windows, windows

Encode = Callable[[Tensor, Tensor], Tensor]  # a batch and its mask, False on padding


def second_features(
    encode: Callable[[Tensor], Tensor], frames: UInt8[Tensor, "n h w 3"], *, fps: int = 30, unit: bool = False
) -> Float[Tensor, "seconds features"]:
    """One vector a second, by S3D: the frames of each second as one clip in [0, 1], one after another.

    The last second is filled up with black. `unit` scales every vector to length 1, which is how VideoCLIP's
    HowTo100M features were stored; its wrapper for single videos leaves them as they are.
    """
    vectors: list[Tensor] = []
    for second in frames.split(fps):
        clip = F.pad(second, (0, 0, 0, 0, 0, 0, 0, fps - len(second)))
        vectors.append(encode(clip.permute(3, 0, 1, 2)[None].float() / 255))
    found = torch.cat(vectors)
    return F.normalize(found, dim=-1) if unit else found


def pad(sequences: Sequence[Tensor]) -> tuple[Tensor, Bool[Tensor, "b n"]]:
    """Sequences of several lengths as one batch as long as the longest, and a mask that is False on the padding."""
    lengths = torch.tensor([len(s) for s in sequences], device=sequences[0].device)
    batch = pad_sequence(list(sequences), batch_first=True)
    return batch, torch.arange(batch.shape[1], device=batch.device) < lengths[:, None]


def embed_sequences(encode: Encode, sequences: Sequence[Tensor], *, batch: int = 256) -> Float[Tensor, "n width"]:
    """One vector each, in the order given: `encode` is a model's `video` or `text`.

    Sequences of like length go together, so that little is computed on padding.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    batches = [order[begin : begin + batch] for begin in range(0, len(order), batch)]
    whole = torch.cat([encode(*pad([sequences[i] for i in chosen])) for chosen in batches])
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    return whole[place.to(whole.device)]


def score_seconds(
    read: Encode,
    features: Float[Tensor, "seconds features"],
    labels: Float[Tensor, "labels width"],
    *,
    step: int = 8,
    size: int = 32,
) -> Float[Tensor, "seconds labels"]:
    """How much every second of a long video looks like every label: dot products, averaged over windows.

    `read` is VideoCLIP's `seconds`: every token of a clip, [CLS] first and [SEP] last.
    COIN is measured with `step` 8, CrossTask with 16. Goes on to `segment` or `localise`.
    """
    spans = windows(len(features), step, size)
    tokens = read(*pad([features[begin:end] for begin, end in spans]))
    scores = tokens[:, 1:-1] @ labels.mT
    cut = [score[: end - begin] for score, (begin, end) in zip(scores, spans, strict=True)]
    return average_windows(cut, len(features), step, size)


def text_ids(texts: Sequence[Sequence[int]], cls: int, sep: int, *, most: int = 61) -> list[Int[Tensor, "_"]]:
    """[CLS] words [SEP] of tokenised texts, cut to the `most` words that the published model was trained with."""
    return [torch.tensor([cls, *words[:most], sep]) for words in texts]
