"""Residual trunks with frozen norms, and the pyramid above them."""

import torch
from torch import nn

from sensorium.nn.feature_pyramid import FeaturePyramid
from sensorium.nn.frozen_resnet import FrozenBatchNorm2d, FrozenResNet, Stage, Stem, stages


def test_frozen_norm_is_a_batch_norm_in_eval_mode_even_while_training() -> None:
    torch.manual_seed(0)
    theirs, ours, x = nn.BatchNorm2d(6).eval(), FrozenBatchNorm2d(6).train(), torch.randn(2, 6, 4, 4)
    state = {name: torch.rand(6) + 0.5 for name in ours.state_dict()}
    ours.load_state_dict(state)
    theirs.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    torch.testing.assert_close(ours(x), theirs(x))
    assert not list(ours.parameters())
    assert torch.equal(ours.running_mean, state["running_mean"])


def test_stages_halve_and_the_pyramid_keeps_their_sizes() -> None:
    trunk = FrozenResNet(Stem(6), stages((1, 2, 1, 1), 6, 8, 16, groups=4))
    maps = trunk(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [(16, 16, 24), (32, 8, 12), (64, 4, 6), (128, 2, 3)]
    pyramid = FeaturePyramid((16, 32, 64, 128), 10)
    outputs = pyramid(maps)
    assert [tuple(x.shape[1:]) for x in outputs] == [(10, 16, 24), (10, 8, 12), (10, 4, 6), (10, 2, 3), (10, 1, 2)]
    torch.testing.assert_close(pyramid.finest(maps), outputs[0])


def test_stride_is_where_it_was_asked_for() -> None:
    first, second = Stage(2, 8, 4, 16, 2, stride_first=True), Stage(2, 8, 4, 16, 2)
    assert [first[0].conv1.conv.stride, first[0].conv2.conv.stride] == [(2, 2), (1, 1)]
    assert [second[0].conv1.conv.stride, second[0].conv2.conv.stride] == [(1, 1), (2, 2)]
    x = torch.randn(1, 8, 9, 9)
    assert first(x).shape == second(x).shape == (1, 16, 5, 5)


def test_caffe_pools_with_a_ceiling() -> None:
    stem = Stem(4, nn.MaxPool2d(3, 2, ceil_mode=True))
    assert stem(torch.randn(1, 3, 28, 28)).shape == (1, 4, 7, 7)
