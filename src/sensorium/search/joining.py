"""Moments that follow on each other as one: a dog that barks from 0:40 to 0:52 is found once, not six times."""

from collections.abc import Sequence
from dataclasses import replace

from sensorium.search.query import Moment

TOUCH = 0.25
"""Seconds between two moments that are one."""


def joined(moments: Sequence[Moment], most: int) -> list[Moment]:
    """The `most` best of moments that come best first; matches of one sense that follow on each other are one of them.

    It lasts from the begin of the first to the end of the last, and is in all else the best of them. Sentences stay
    apart: who asks for what was said wants to hear it at once.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(moments)), key=lambda place: (moments[place].sense, moments[place].begin or 0.0)):
        if groups and _follows(moments[groups[-1][-1]], moments[place]):
            groups[-1].append(place)
        else:
            groups.append([place])
    told = [
        replace(moments[min(group)], begin=moments[group[0]].begin, end=moments[group[-1]].end)
        for group in sorted(groups, key=min)
    ]
    return told[:most]


def _follows(one: Moment, other: Moment) -> bool:
    if one.end is None or other.begin is None or min(one.confidence, other.confidence) < 0.5:
        return False
    return one.sense == other.sense != "text" and other.begin <= one.end + TOUCH
