"""The authors' own files of VisualBERT."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sensorium.checkpoints.formats import export, format_named
from sensorium.checkpoints.load import load_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.visualbert import VisualBERT, VisualBERTConfig

WIDE = VisualBERTConfig(width=128, depth=1, heads=2, mlp=32, words=30, positions=12, features=6)


@pytest.mark.parametrize(
    "config",
    [
        WIDE,
        replace(WIDE, phrases=True),
        replace(WIDE, heads=4, phrases=True),  # the head for phrases tells how wide heads are
        replace(WIDE, pretraining=False, labels=9),
        replace(WIDE, pretraining=False, labels=1, early_fusion=False),
    ],
)
def test_th_files_with_the_detector_that_was_trained_along(config: VisualBERTConfig, tmp_path: Path) -> None:
    """allennlp's suffix; the VCR files hold the detector too, which is another model."""
    ours = VisualBERT(config)
    state = export(ours, format_named("visualbert", "official"))
    detector = {"detector.backbone.4.0.conv1.weight": torch.zeros(2), "detector.object_embed.weight": torch.zeros(3)}
    torch.save({f"module.{name}": tensor for name, tensor in {**state, **detector}.items()}, tmp_path / "vcr.th")
    loaded = load_model(tmp_path)
    assert loaded.found == "visualbert under the names of official"
    assert loaded.model.config == config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name


def test_another_berts_file_is_not_taken_for_it(tmp_path: Path) -> None:
    torch.save({"bert.embeddings.word_embeddings.weight": torch.zeros(3, 2)}, tmp_path / "bert.bin")
    with pytest.raises(CheckpointError, match="of no family"):
        load_model(tmp_path)
