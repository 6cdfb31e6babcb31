"""The convolutional baseline that both papers compare with, at a size for small pictures."""

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.resnet import ResNet


class ResNetClassifier(nn.Module):
    """A ResNet with a stem of one 3×3 convolution, which halves the picture twice by pooling, and a linear head."""

    def __init__(self, classes: int, *, width: int = 32, depths: tuple[int, ...] = (2, 2, 2, 2)) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.trunk = ResNet(stem, width, depths, width)
        self.dim = self.trunk.outputs
        self.head = nn.Linear(self.dim, classes)

    def represent(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b dim"]:
        """One vector a picture."""
        return self.trunk(image).mean((2, 3))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Class scores."""
        return self.head(self.represent(image))
