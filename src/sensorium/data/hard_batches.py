"""Batches in which every video is hard to tell from the others (VideoCLIP, section 3.3.2,
https://arxiv.org/abs/2109.14084): a random video and its nearest, found with the model as it is at this epoch.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def video_vectors(video: Float[Tensor, "n clips d"], text: Float[Tensor, "n clips d"]) -> Float[Tensor, "n d"]:
    """One vector a video: the mean over its clips of the clip's and its text's vector, not scaled."""
    return ((video + text) / 2).mean(1)


def nearest(
    vectors: Float[Tensor, "n d"], queries: Int[Tensor, "q"], count: int, *, chunk: int = 4096
) -> Int[Tensor, "q count"]:
    """The videos nearest to each query (Euclidean), the query itself among them; exact, `chunk` queries at a time.

    The reference looks into one of 512 cells of a FAISS index: its neighbours are approximate.
    """
    count = min(count, len(vectors))
    square = vectors.square().sum(1)
    found = [
        # The query's own square is the same for all, and does not change the order.
        torch.addmm(square, vectors[part], vectors.mT, alpha=-2).topk(count, largest=False).indices
        for part in queries.split(chunk)
    ]
    return torch.cat(found) if found else queries.new_empty(0, count)


def hard_batches(
    vectors: Float[Tensor, "n d"], generator: torch.Generator, *, candidates: int = 64, size: int = 32
) -> Int[Tensor, "batches size"]:
    """The videos of every batch of one epoch: n // size queries, `size` of the `candidates` nearest to each.

    As in the reference the query may be left out, and a video can be in several batches or in none. Raises
    ValueError where there are fewer videos than one batch holds.
    """
    if len(vectors) < size or candidates < size:
        raise ValueError(f"{len(vectors)} videos and {candidates} candidates for batches of {size}")
    queries = torch.randperm(len(vectors), generator=generator)[: len(vectors) // size]
    lists = nearest(vectors, queries.to(vectors.device), candidates).cpu()
    chosen = torch.rand(lists.shape, generator=generator).argsort(1)[:, :size]
    return lists.gather(1, chosen)
