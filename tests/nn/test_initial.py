import torch
from torch import nn

from sensorium.nn import initial


def test_bert() -> None:
    torch.manual_seed(0)
    parts = nn.ModuleList([nn.Linear(200, 50), nn.Linear(50, 5, bias=False), nn.Embedding(300, 20), nn.LayerNorm(9)])
    parts.apply(initial.bert)
    linear, _, table, norm = parts
    assert not linear.bias.any()  # type: ignore[operator]
    for part in (linear, table):
        assert abs(part.weight.std() - 0.02) < 0.001  # type: ignore[arg-type]
    assert (norm.weight == 1).all()  # type: ignore[union-attr]
