import subprocess
import sys

import jaxtyping
import pytest
import torch
from torch import nn

from sensorium.nn.blank import blank
from sensorium.nn.embeddings import BertEmbedding, PatchEmbedding, prepend
from sensorium.nn.heads import Pooler
from sensorium.nn.resnet import ResNet
from sensorium.nn.transformer import QuickGELU, SwiGLU, TanhGELU


def test_patches_in_raster_order() -> None:
    embedding = PatchEmbedding(12, (2, 2), bias=False)
    with torch.no_grad():
        embedding.project.weight.copy_(torch.eye(12).view(12, 3, 2, 2))  # type: ignore[operator]
    image = torch.randn(1, 3, 4, 6)
    tokens = embedding(image)
    assert embedding.grid(4, 6) == (2, 3)
    assert tokens.shape == (1, 6, 12)
    torch.testing.assert_close(tokens[0, 4], image[0, :, 2:4, 2:4].flatten())


def test_patches_of_clips_and_overlapping_ones() -> None:
    clip = PatchEmbedding(8, (2, 4, 4))
    assert clip(torch.randn(2, 3, 4, 8, 12)).shape == (2, clip.grid(4, 8, 12)[0] * 2 * 3, 8)
    sound = PatchEmbedding(8, (16, 16), 1, stride=(10, 10))
    assert sound.grid(128, 204) == (12, 19)
    assert sound(torch.randn(1, 1, 128, 204)).shape == (1, 12 * 19, 8)


def test_bert_embedding_by_hand() -> None:
    embedding = BertEmbedding(words=10, positions=6, segments=2, width=4)
    ids, segments = torch.tensor([[3, 1, 2]]), torch.tensor([[0, 0, 1]])
    total = embedding.word.weight[ids] + embedding.position.weight[:3] + embedding.segment.weight[segments]
    torch.testing.assert_close(embedding(ids, segments), nn.functional.layer_norm(total, (4,), eps=1e-12))
    torch.testing.assert_close(embedding(ids), embedding(ids, torch.zeros_like(ids)))


def test_prepend() -> None:
    token, x = torch.randn(2, 4), torch.randn(3, 5, 4)
    joined = prepend(token, x)
    assert torch.equal(joined[:, 2:], x)
    assert torch.equal(joined[1, :2], token)


def test_activations() -> None:
    x = torch.linspace(-4, 4, 50)
    torch.testing.assert_close(QuickGELU()(x), x * torch.sigmoid(1.702 * x))
    torch.testing.assert_close(TanhGELU()(x), nn.functional.gelu(x, approximate="tanh"))
    assert (QuickGELU()(x) - nn.functional.gelu(x)).abs().max() > 1e-3


def test_swiglu_and_pooler_by_hand() -> None:
    mlp, x = SwiGLU(4, 6), torch.randn(2, 3, 4)
    gate = mlp.gate(x)
    torch.testing.assert_close(mlp(x), mlp.down(gate * gate.sigmoid() * mlp.up(x)))
    pooler = Pooler(4, 5)
    torch.testing.assert_close(pooler(x[:, 0]), pooler.project(x[:, 0]).tanh())


@pytest.mark.parametrize("antialias", [False, True])
def test_resnet_halves_at_every_stage(antialias: bool) -> None:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.AvgPool2d(2))
    trunk = ResNet(stem, 8, (1, 2, 1, 1), 8, antialias=antialias).eval()
    maps = trunk.maps(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 16, 24), (64, 8, 12), (128, 4, 6), (256, 2, 3)]
    assert trunk.outputs == 256
    strided = trunk.stages[1][0]  # type: ignore[index]
    assert strided.conv2.stride == ((1, 1) if antialias else (2, 2))


def test_signatures_are_checked_while_tests_run() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        Pooler(4, 5)(torch.randn(2, 3, 4))


def test_blank_models_have_shapes_and_no_numbers() -> None:
    with blank():
        model = nn.Sequential(nn.Linear(10**6, 10**6), nn.Conv2d(3, 4, 2), nn.Embedding(9, 3), nn.BatchNorm2d(4))
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    drawn = nn.Linear(8, 8)
    assert drawn.weight.device.type == "cpu"
    assert drawn.weight.abs().max() > 0


def test_blank_models_do_not_pull_in_the_compiler() -> None:
    """Two seconds of every cold start."""
    code = (
        "import sys; from sensorium.checkpoints.formats import PRESETS, parameters\n"
        "assert parameters(PRESETS['clip-vit-b-32']) == 151277313; parameters(PRESETS['clip-rn50']);"
        "parameters(PRESETS['vit-b-16'])\n"
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
