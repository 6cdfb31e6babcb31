"""The video models through files: there and back, refused in part, and warm from a BERT that transformers saved."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sensorium.checkpoints.files import read_checkpoint
from sensorium.checkpoints.formats import recognise
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.s3d import S3DConfig
from sensorium.models.videoclip import VideoCLIP, VideoCLIPConfig
from sensorium.models.vlm import VLMConfig
from tests import tiny_video
from tests.tiny_video import S3D_TEXT, VIDEOCLIP, VLM_JOINT, VLM_SHARED, texts

WAYS = {
    "videoclip": (VIDEOCLIP, "fairseq"),
    "vlm joint": (VLM_JOINT, "fairseq"),
    "vlm shared": (VLM_SHARED, "fairseq"),
    "vlm mfm-mlm": (replace(VLM_JOINT, head="mfm-mlm", slots=0), "fairseq"),
    "vlm mtm": (replace(VLM_JOINT, head="mtm"), "fairseq"),
    "s3d": (S3D_TEXT, "howto100m"),
    "s3d without words": (S3DConfig(embed=8, words=0), "howto100m"),
}


@pytest.mark.parametrize("way", WAYS)
def test_round_trip(way: str, tmp_path: Path) -> None:
    config, naming = WAYS[way]
    model = tiny_video.build(config)
    path = save_model(model, tmp_path, naming=naming)
    loaded = load_model(tmp_path).model
    assert loaded.config == (replace(config, word_width=300, hidden=2048) if way == "s3d without words" else config)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    again = save_model(loaded, tmp_path / "again", naming=naming)
    assert path.read_bytes() == again.read_bytes()


def test_a_fairseq_checkpoint_wraps_its_weights(tmp_path: Path) -> None:
    """Alone, as it was published: heads, clips and the ids of their ends are BERT's own."""
    config = replace(VIDEOCLIP, text=replace(VIDEOCLIP.text, words=128, positions=48))
    state = load_file(save_model(tiny_video.build(config), tmp_path / "ours", naming="fairseq"))
    positions = {"mmmodel.text_encoder.embeddings.position_ids": torch.arange(48)[None]}
    wrapped = tmp_path / "checkpoint_best.pt"
    beside = {"args": Namespace(arch="mmfusion"), "extra_state": {"epoch": 25}}
    torch.save({"model": state | positions, **beside}, wrapped)
    model = load_model(wrapped).model
    assert isinstance(model, VideoCLIP)
    assert model.config == replace(config, text=replace(config.text, heads=1), frames=32, cls=101, sep=102)


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_tensor_is_named(way: str, tmp_path: Path) -> None:
    config, naming = WAYS[way]
    path = save_model(tiny_video.build(config), tmp_path, naming=naming)
    state = load_file(path)
    gone = "mixed_4d.gating_b2.fc.bias" if naming == "howto100m" else next(k for k in state if k.endswith("query.bias"))
    del state[gone]
    save_file(state, path)
    with pytest.raises(CheckpointError, match=f"missing: {gone}"):
        load_model(tmp_path)


def test_another_shape_is_named(tmp_path: Path) -> None:
    path = save_model(tiny_video.build(VLM_SHARED), tmp_path, naming="fairseq")
    name = "mmmodel.mm_encoder.videomlp.linear2.weight"
    save_file(load_file(path) | {name: torch.zeros(64, 60)}, path)
    with pytest.raises(CheckpointError, match=r"linear2\.weight is \[64, 60\], should be \[64, 64\]"):
        load_model(tmp_path)


def test_the_published_file_is_recognised_by_its_names(tmp_path: Path) -> None:
    for config, family in ((VIDEOCLIP, "videoclip"), (VLM_JOINT, "vlm"), (S3D_TEXT, "s3d")):
        assert isinstance(config, VideoCLIPConfig | VLMConfig | S3DConfig)
        naming = "howto100m" if family == "s3d" else "fairseq"
        path = save_model(tiny_video.build(config), tmp_path / family, naming=naming)
        assert recognise(read_checkpoint(path)).family == family


@pytest.mark.filterwarnings("ignore")
def test_the_text_tower_is_the_bert_of_transformers(tmp_path: Path) -> None:
    """A BERT that transformers saved, put below VideoCLIP's prefixes, reads as transformers reads it; and back."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    theirs = transformers.BertModel(config).eval()
    theirs.save_pretrained(tmp_path / "bert")
    state = load_file(tmp_path / "bert" / "model.safetensors")
    path = save_model(tiny_video.videoclip(), tmp_path / "ours", naming="fairseq")
    warm = {f"mmmodel.text_encoder.{name}": tensor for name, tensor in state.items()}
    save_file(load_file(path) | warm, path)
    model = load_model(tmp_path / "ours").model
    assert isinstance(model, VideoCLIP)
    ids, mask = texts(6, 9)
    with torch.no_grad():
        expected = theirs(ids, mask).last_hidden_state
    torch.testing.assert_close(model.words(ids, mask)[mask], expected[mask], atol=1e-5, rtol=1e-4)

    saved = load_file(save_model(tiny_video.videoclip(), tmp_path / "back", naming="fairseq"))
    prefix = "mmmodel.text_encoder."
    tower = {name.removeprefix(prefix): t for name, t in saved.items() if name.startswith(prefix)}
    save_file(tower, tmp_path / "bert" / "model.safetensors", metadata={"format": "pt"})
    again = transformers.BertModel.from_pretrained(tmp_path / "bert").eval()
    with torch.no_grad():
        expected = again(ids, mask).last_hidden_state
    ours = tiny_video.videoclip().words(ids, mask)
    torch.testing.assert_close(ours[mask], expected[mask], atol=1e-5, rtol=1e-4)
