import torch
from torch import nn

from sensorium.models.vit import ViT, ViTConfig
from sensorium.training.dropout import drop_path, dropout

SMALL = ViTConfig(image=16, patch=8, width=32, depth=3, heads=2, mlp=64, classes=5)


def test_dropout_draws_in_training_alone_and_adds_no_names() -> None:
    model, image = ViT(SMALL).eval(), torch.randn(2, 3, 16, 16)
    before, names = model(image), list(model.state_dict())
    dropout(model, 0.5)
    assert list(model.state_dict()) == names
    assert torch.equal(model(image), before)
    model.train()
    torch.manual_seed(0)
    first, second = model(image), model(image)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(model(image), first), "the seed decides"


def test_no_rate_no_hook() -> None:
    model = ViT(SMALL)
    dropout(model, 0.0)
    drop_path(list(model.blocks), 0.0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_drop_path_skips_whole_branches_more_often_in_later_blocks_and_keeps_the_mean() -> None:
    model = ViT(SMALL).train()
    blocks: list[nn.Module] = list(model.blocks)
    drop_path(blocks, 0.5)
    torch.manual_seed(0)
    ones = torch.ones(4000, 2, 32)
    kept = [block.get_submodule("scale1")(ones)[:, 0, 0] for block in blocks]
    for values, chance in zip(kept, (0.0, 0.25, 0.5), strict=True):
        assert abs(float((values == 0).float().mean()) - chance) < 0.03
        assert abs(float(values.mean()) - 1) < 0.06
    model.eval()
    assert torch.equal(blocks[2].get_submodule("scale2")(ones), ones)
