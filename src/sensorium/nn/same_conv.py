"""Convolutions padded as TensorFlow pads, for networks that were trained there."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: the odd pixel goes to the right and bottom.

    The weights were trained so; symmetric padding shifts every strided layer by half a pixel.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Convolve; h and w shrink by the stride, rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(input, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        over = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in input.shape[2:]]
        x = F.pad(input, (over[1] // 2, over[1] - over[1] // 2, over[0] // 2, over[0] - over[0] // 2))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)
