"""How pocket hears: a frozen classifier of sounds, and for each of its kinds of sound what words for it mean to pocket.

A sound's vector is the mean of these meanings, each as strong as its kind is heard, so that sounds lie where sentences
about them lie, and are compared with pictures as sentences are.
"""

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.models.yamnet import YamNet

SPEECH = 4  # the first kinds of sound: speech, a child's speech, conversation, narration


class Ear(nn.Module):
    """Waveforms (16,000 samples a second, in [-1, 1]) to vectors of pocket's space, not normalised."""

    meanings: Tensor

    def __init__(self, classifier: YamNet, meanings: Float[Tensor, "classes embed"]) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("meanings", meanings)

    def heard(self, waveform: Float[Tensor, "b n"]) -> Float[Tensor, "b classes"]:
        """How surely each kind of sound is heard, from 0 to 1: the mean over all patches."""
        return self.classifier(waveform).sigmoid().mean(1)

    def spoken(self, waveform: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
        """How surely somebody speaks in some patch, from 0 to 1."""
        return self.classifier(waveform)[..., :SPEECH].amax((1, 2)).sigmoid()

    def forward(self, waveform: Float[Tensor, "b n"]) -> Float[Tensor, "b embed"]:
        """Embed a batch of clips."""
        return self.heard(waveform) @ self.meanings
