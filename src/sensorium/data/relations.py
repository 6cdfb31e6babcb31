"""Which entities of a form may belong together: candidates for relations, as LayoutXLM's reference has them."""

from collections.abc import Collection, Sequence

QUESTION, ANSWER = 1, 2
Pair = tuple[int, int]


def candidates(kinds: Sequence[int]) -> list[Pair]:
    """Every (question, answer) pair of a page's entities, in order; (0, 1) where there is none."""
    heads = [index for index, kind in enumerate(kinds) if kind == QUESTION]
    tails = [index for index, kind in enumerate(kinds) if kind == ANSWER]
    return [(head, tail) for head in heads for tail in tails] or [(0, 1)]


def page_candidates(starts: Sequence[int], kinds: Sequence[int]) -> tuple[list[int], list[int], list[Pair]]:
    """First tokens, kinds and pairs of a page; two entities or fewer become two that stand for nothing."""
    if len(starts) <= 2:
        return [0, 0], [0, 0], [(0, 1)]
    return list(starts), list(kinds), candidates(kinds)


def related(pairs: Sequence[Pair], relations: Collection[Pair]) -> list[int]:
    """1 for every pair that is a relation, else 0."""
    wanted = set(relations)
    return [int(pair in wanted) for pair in pairs]
