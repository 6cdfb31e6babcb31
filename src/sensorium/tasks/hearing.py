"""Pocket's hearing: what sounds are, and what is said in them.

A sound's pieces are stretches of two seconds, which the ear embeds, and between them, where `sensorium[speech]` is
installed and somebody speaks English, what was said, in words of at most ten seconds: text, as a document's is.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

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
PAUSE = RATE // 20  # samples over which loudness is measured, to cut speech where it is quietest
SPOKEN = 0.5  # how surely somebody speaks in a stretch before it is read
SHORT = 3  # words of a sentence that does not stand alone
SURE = -0.5  # mean log-probability of its words below which speech was not understood: another language, or a song


class Hearing:
    """The ear of one pocket, loaded when the first sound comes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def tower(self) -> SenseTower:
        """The sense as an embedder has it."""
        words = can_read_speech()
        mark = f"{ear_mark()}+{SPEECH.requirement}" if words else ear_mark()
        return SenseTower(forward=self.forward, read=self.read, pieces=self.pieces, mark=mark, words=words)

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
        """Stretches, and words as soon as they were said. Raises Unreadable after the last piece of a damaged file."""
        if can_read_speech():
            yield from islice(self._with_words(path), skip, None)
        else:
            for segment in sound_segments(path, seconds=STRETCH, skip=skip):
                yield Piece("audio", _clip(_mono(segment)), segment.begin, segment.end)

    def _with_words(self, path: Path) -> Iterator[Piece]:
        speech, end = Speech(), 0.0
        try:
            for segment in sound_segments(path, seconds=STRETCH):
                samples = _mono(segment)
                clip = _clip(samples)
                yield Piece("audio", clip, segment.begin, segment.end)
                with torch.inference_mode():
                    spoken = float(self.ear.spoken(clip[None].to(self.device))) >= SPOKEN
                if spoken:  # the last stretch may reach back into the one before
                    yield from speech.take(
                        samples[round(max(0.0, end - segment.begin) * RATE) :], max(end, segment.begin)
                    )
                else:
                    yield from speech.rest()
                end = segment.end
        except Unreadable:
            yield from speech.rest()
            raise
        yield from speech.rest()


class Speech:
    """Gathers stretches in which somebody speaks, and gives their words."""

    def __init__(self) -> None:
        self.samples, self.begin = torch.zeros(0), 0.0

    def take(self, samples: Float[Tensor, " n"], begin: float) -> Iterator[Piece]:
        """Speech goes on; where that is for long, what was said up to a pause."""
        if not len(self.samples):
            self.begin = begin
        self.samples = torch.cat([self.samples, samples])
        if len(self.samples) >= LONGEST * RATE:
            tail = self.samples[-round(STRETCH * RATE) :]
            loudness = tail.unfold(0, PAUSE, PAUSE // 2).square().mean(1)
            cut = len(self.samples) - len(tail) + int(loudness.argmin()) * (PAUSE // 2) + PAUSE // 2
            later = self.samples[cut:]
            self.samples = self.samples[:cut]
            yield from self.rest()
            self.samples = later

    def rest(self) -> Iterator[Piece]:
        """What was said up to here, where it was understood."""
        samples, begin = self.samples, self.begin
        self.samples, self.begin = torch.zeros(0), begin + len(samples) / RATE
        if len(samples):
            heard = recogniser()(samples)
            if heard.surety >= SURE and not _rambles(heard.words):
                yield from _sentences(heard.words, begin, self.begin)


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
