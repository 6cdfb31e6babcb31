"""ImageNet's class names and the prompts around them, as CLIP's authors worded both (Radford et al. 2021, 3.1.4)."""

from functools import cache
from importlib import resources
from typing import Literal


@cache
def imagenet_names() -> tuple[str, ...]:
    """The 1000 names, ordered by class index; "missile" and "sunglasses" stand twice, as published."""
    return _lines("imagenet_names.txt")


@cache
def templates(count: Literal[80, 7] = 80) -> tuple[str, ...]:
    """Prompts with `{}` where the name goes: all 80, or the 7 that CLIP's notebook chose by forward selection."""
    return _lines(f"templates_{count}.txt")


def _lines(name: str) -> tuple[str, ...]:
    text = resources.files("sensorium.data.vocabulary").joinpath(name).read_text(encoding="utf-8")
    return tuple(text.splitlines())
