"""Pocket's hearing: what sounds are, and what is said in them.

A sound's pieces are stretches of two seconds, which the ear embeds, and, where `sensorium[speech]` is installed and
somebody speaks English, what was said, sentence by sentence: text, as a document's is. Speech is read in stretches of
at most ten seconds, and divided anew each minute whatever came before, so that reading can go on in the midst of it.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.checkpoints.ear import ear_mark, load_ear
from sensorium.checkpoints.moonshine import SPEECH, can_read_speech, recogniser
from sensorium.data.audio import resample
from sensorium.data.audio_segments import SoundSegment, sound_segments
from sensorium.data.errors import Unreadable
from sensorium.models.ear import Ear
from sensorium.models.yamnet import RATE
from sensorium.tasks.senses import Piece, SenseTower

STRETCH = 2.0  # seconds of a clip
CLIPS = 64  # that stand for a whole file
LONGEST = 10.0  # seconds of speech that are read at once
ANEW = 32  # stretches after which speech is cut in any case
AHEAD = 16  # stretches of which it is asked together whether somebody speaks: alone each costs several times as much
PAUSE = RATE // 20  # samples over which loudness is measured, to cut speech where it is quietest
SPOKEN = 0.5  # how surely somebody speaks in a stretch before it is read
SHORT = 3  # words of a sentence that does not stand alone
SURE = -0.5  # mean log-probability of its words below which speech was not understood: another language, or a song


class Said(NamedTuple):
    """A stretch of speech that is read at once: its samples, begin and end in seconds."""

    samples: Float[Tensor, " n"]
    begin: float
    end: float


class Hearing:
    """The ear of one pocket, loaded when the first sound comes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def tower(self) -> SenseTower:
        """The sense as an embedder has it."""
        words = can_read_speech()
        mark = f"{ear_mark()}+{SPEECH.requirement}" if words else ear_mark()
        return SenseTower(
            forward=self.forward, read=self.read, pieces=self.pieces, words=self.words if words else None, mark=mark
        )

    @cached_property
    def ear(self) -> Ear:
        """Fetched the first time; raises PackageError where it cannot be had."""
        return load_ear().to(self.device)

    def forward(self, clips: Float[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """Clips of two seconds, as `read` gives them, to vectors, not normalised."""
        return self.ear(clips)

    def read(self, path: Path) -> Float[Tensor, "clips n"]:
        """At most 64 evenly spaced stretches of a file. Raises Unreadable."""
        kept: list[Tensor] = []
        step = 1
        for number, segment in enumerate(sound_segments(path, seconds=STRETCH)):
            if number % step == 0:
                kept.append(_clip(_mono(segment)))
            if len(kept) > CLIPS:
                kept, step = kept[::2], 2 * step
        return torch.stack(kept)

    def pieces(self, path: Path, skip: int) -> Iterator[Piece]:
        """Stretches. Raises Unreadable after the last one of a damaged file."""
        for segment in sound_segments(path, seconds=STRETCH, skip=skip):
            yield Piece("audio", _clip(_mono(segment)), segment.begin, segment.end)

    def words(self, path: Path, since: float) -> Iterator[Piece]:
        """Sentences of speech that was understood. Raises Unreadable after the last one of a damaged file."""
        for said in self._speech(path, since):
            if said.end > since:
                yield from (piece for piece in _understood(said) if (piece.begin or 0.0) >= since)

    def _speech(self, path: Path, since: float) -> Iterator[Said]:
        """What is said together, from some time before `since` on: as it is when all is read, from then on."""
        speech, end = Speech(), 0.0
        number = max(0, int(since // (ANEW * STRETCH)) - 1) * ANEW
        try:
            for block in _blocks(sound_segments(path, seconds=STRETCH, skip=number), AHEAD):
                heard = [_mono(segment) for segment in block]
                with torch.inference_mode():
                    spoken = self.ear.spoken(torch.stack([_clip(samples) for samples in heard]).to(self.device))
                for segment, samples, surety in zip(block, heard, spoken.tolist(), strict=True):
                    number += 1
                    fresh = samples[round(max(0.0, end - segment.begin) * RATE) :]  # the last stretch may reach back
                    if surety >= SPOKEN:
                        yield from speech.take(fresh, max(end, segment.begin), cut=number % ANEW == 0)
                    else:
                        yield from speech.rest()
                    end = segment.end
        except Unreadable:
            yield from speech.rest()
            raise
        yield from speech.rest()


class Speech:
    """Gathers stretches in which somebody speaks until there is a pause, or as many as are read at once."""

    def __init__(self) -> None:
        self.samples, self.begin, self.end = torch.zeros(0), 0.0, 0.0

    def take(self, samples: Float[Tensor, " n"], begin: float, *, cut: bool = False) -> Iterator[Said]:
        """Speech goes on; where that is for long, or where it is to be `cut`, what was said up to a pause."""
        before = len(self.samples)
        self.samples = torch.cat([self.samples, samples])
        self.begin, self.end = self.begin if before else begin, begin + len(samples) / RATE
        if cut or len(self.samples) >= LONGEST * RATE:
            tail = self.samples[-round(STRETCH * RATE) :]
            if len(tail) < PAUSE:
                return
            loudness = tail.unfold(0, PAUSE, PAUSE // 2).square().mean(1)
            where = len(self.samples) - len(tail) + int(loudness.argmin()) * (PAUSE // 2) + PAUSE // 2
            pause = begin + (where - before) / RATE
            yield Said(self.samples[:where], self.begin, pause)
            self.samples, self.begin = self.samples[where:], pause

    def rest(self) -> Iterator[Said]:
        """What was said up to here."""
        if len(self.samples):
            yield Said(self.samples, self.begin, self.end)
        self.samples = torch.zeros(0)


def _blocks(segments: Iterator[SoundSegment], most: int) -> Iterator[list[SoundSegment]]:
    """As many together, fewer at the end. Raises what reading them raises after the last block."""
    block: list[SoundSegment] = []
    try:
        for segment in segments:
            block.append(segment)
            if len(block) == most:
                yield block
                block = []
    except Unreadable:
        if block:
            yield block
        raise
    if block:
        yield block


def _understood(said: Said) -> Iterator[Piece]:
    """The sentences of what was said, none where it was not understood."""
    heard = recogniser()(said.samples)
    if heard.surety >= SURE and not _rambles(heard.words):
        yield from _sentences(heard.words, said.begin, said.end)


def _rambles(words: str) -> bool:
    """Whether a few words come again and again, as they do where the model lost the thread."""
    said = words.lower().split()
    return len(set(said)) < len(said) / 3


def _sentences(words: str, begin: float, end: float) -> Iterator[Piece]:
    """Each sentence of four words or more, shorter ones with the next; when each was said goes by their letters."""
    a_letter, kept = (end - begin) / max(1, len(words)), ""
    for sentence in re.findall(r"[^.?!]+[.?!]*\s*", words):
        kept += sentence
        if kept.count(" ") > SHORT or words.endswith(kept):
            later = begin + len(kept) * a_letter
            if any(letter.isalpha() for letter in kept):
                yield Piece("text", kept.strip(), begin, later)
            begin, kept = later, ""


def _mono(segment: SoundSegment) -> Float[Tensor, " n"]:
    return resample(segment.waveform.mean(0, keepdim=True), segment.rate, RATE)[0]


def _clip(samples: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """Two seconds: a shorter sound is heard again and again, for silence after it would be heard too."""
    length = round(STRETCH * RATE)
    return samples.repeat(-(-length // len(samples)))[:length]
