"""DINOv3 at mixed resolutions: a short training after which dense features are good on large pictures too (Siméoni et
al. 2025, section 5.1; https://arxiv.org/abs/2508.10104).

    sensorium train dinov3-highres --data things --run runs/large --set start=runs/gram epochs=2
    torchrun --nproc-per-node 8 -m sensorium train dinov3-highres --data photos --into runs/mine \\
        --set start=dinov3-vit-l-16 size=512 large=512,512,768,768 small=112,168,224,336 batch=128 precision=bf16
"""

from dataclasses import dataclass

from sensorium.data.errors import SensoriumError
from sensorium.training.recipe import Recipe
from sensorium.training.recipes import dinov3_gram as gram
from sensorium.training.world import World


@dataclass(frozen=True, kw_only=True)
class Settings(gram.Settings):
    """A refinement whose crops have other sizes from step to step: the i-th of `large` with the i-th of `small`."""

    large: tuple[int, ...] = (64, 96, 96, 128)
    small: tuple[int, ...] = (32, 32, 48, 64)
    finer: float = 1.0  # the anchor sees what the student does: crops are large already
    replacements: int = 0


def dinov3_highres(s: Settings, world: World) -> Recipe:
    """Gram anchoring on crops of several sizes.

    sensorium train dinov3-highres --data things --set start=runs/gram --run runs/large
    """
    if not s.large or len(s.large) != len(s.small):
        raise SensoriumError(f"large={s.large} and small={s.small}: as many of the one as of the other")
    return gram.refined(s, world, list(zip(s.large, s.small, strict=True)))
