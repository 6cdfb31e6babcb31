"""Emoji in miniature: every concept is a colour with a pattern, which eight artists paint with a hand of their own."""

from pathlib import Path

import numpy as np

from sensorium.data.emoji import ARTISTS, SIZE, Concept, Emoji

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 220), "yellow": (230, 220, 30)}
PATTERNS = {"plain": (64, 64), "rows": (4, 64), "columns": (64, 4), "chequers": (4, 4)}


def make(folder: Path) -> Emoji:
    """16 concepts of four subgroups, by every artist."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(0)
    row, column = np.mgrid[:SIZE, :SIZE]
    pairs = [(colour, pattern) for colour in COLOURS for pattern in PATTERNS]
    concepts = [Concept(f"{i:05X}", (f"{c} {p}", c, p), "shapes", p) for i, (c, p) in enumerate(pairs)]
    rows: list[tuple[str, int, int]] = []
    for artist in ARTISTS:
        pictures = np.empty((len(pairs), SIZE, SIZE, 3))
        for index, (colour, pattern) in enumerate(pairs):
            high, wide = PATTERNS[pattern]
            dark = (row // high + column // wide) % 2 == 1
            pictures[index] = np.where(dark[..., None], 20, COLOURS[colour]) + dice.integers(-20, 20, (3,))
            rows.append((artist, index, index))
        np.save(folder / f"{artist}.npy", pictures.clip(0, 255).astype(np.uint8))
    return Emoji(folder, tuple(concepts), tuple(rows))
