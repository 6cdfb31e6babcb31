"""A model with senses that were bound to it: its pictures and words as they were, and trunks that meet them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sensorium.checkpoints.bindings import Binding
from sensorium.checkpoints.load import Loaded
from sensorium.checkpoints.rename import CheckpointError
from sensorium.data.kinds import Sense
from sensorium.nn.packed import pack
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.towers import bound_senses


def bound(
    base: Embedder | Loaded, binding: Binding, source: str | Path, senses: Sequence[Sense] | None = None
) -> Embedder:
    """`base` with the senses of a binding; `senses` leaves some of them out. The model is the trunks' own.

    Raises CheckpointError where it is another model, or one that has changed since: vectors would not meet.
    """
    if base.fingerprint != binding.towers_fingerprint or not isinstance(base, Embedder):
        raise CheckpointError(
            f"{source} was trained to meet {binding.towers}, fingerprint {binding.towers_fingerprint}; what is there "
            f"now has {base.fingerprint}: put the old weights back, or bind the senses anew"
        )
    trunks = binding.trunks.to(base.device)
    if trunks.config.embed != base.dim:
        raise CheckpointError(
            f"{source}: vectors of {trunks.config.embed} numbers, and those of {base.name} {base.dim}"
        )
    if base.device.type == "cpu":
        pack(trunks, dtype=torch.bfloat16 if base.precision == "bf16" else None)
    more = bound_senses(trunks)
    if senses is not None and (lost := [each for each in senses if each not in more and not base.has(each)]):
        raise CheckpointError(f"{source} has no {', '.join(lost)}; it has {', '.join(more)}")
    both = hashlib.blake2b(f"{base.fingerprint} {binding.fingerprint}".encode(), digest_size=12).hexdigest()
    kept = {sense: tower for sense, tower in more.items() if senses is None or sense in senses}
    return replace(base, name=str(source), fingerprint=both, senses={**base.senses, **kept})
