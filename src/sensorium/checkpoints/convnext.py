"""DINOv3's ConvNeXts as its authors and transformers save them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sensorium.checkpoints.dinov2 import picture, timm_picture
from sensorium.checkpoints.format import Family, Format, picture_features
from sensorium.checkpoints.rename import CheckpointError, Row, depth, linear, under
from sensorium.models.convnext import PRESETS, ConvNeXt, ConvNeXtConfig


def official_rows(c: ConvNeXtConfig) -> list[Row]:
    """facebookresearch/dinov3."""
    block = [
        *linear("dwconv", "conv"),
        *linear("norm", "norm"),
        *linear("pwconv1", "up"),
        *linear("pwconv2", "down"),
        Row("gamma", "gain"),
    ]
    return [
        *linear("downsample_layers.*.*", "shrink.*.*"),
        *under("stages.*.*.", "stages.*.*.", block),
        *linear("norm", "norm"),
    ]


def official_ties(c: ConvNeXtConfig) -> dict[str, str]:
    """The final norm is listed a second time, as that of the last stage."""
    return {f"norms.{len(c.depths) - 1}.{part}": f"norm.{part}" for part in ("weight", "bias")}


def transformers_rows(c: ConvNeXtConfig) -> list[Row]:
    """transformers' DINOv3ConvNextModel."""
    block = [
        *linear("depthwise_conv", "conv"),
        *linear("layer_norm", "norm"),
        *linear("pointwise_conv1", "up"),
        *linear("pointwise_conv2", "down"),
        Row("gamma", "gain"),
    ]
    return [
        *linear("stages.*.downsample_layers.*", "shrink.*.*"),
        *under("stages.*.layers.*.", "stages.*.*.", block),
        *linear("layer_norm", "norm"),
    ]


def timm_rows(c: ConvNeXtConfig) -> list[Row]:
    """timm's ConvNeXt, `convnext_*.dinov3_lvd1689m`: the stem apart from the other steps, the norm in the head."""
    block = [
        *linear("conv_dw", "conv"),
        *linear("norm", "norm"),
        *linear("mlp.fc1", "up"),
        *linear("mlp.fc2", "down"),
        Row("gamma", "gain"),
    ]
    return [
        *linear("stem.*", "shrink.0.*"),
        *linear("stages.*.downsample.*", "shrink.*.*"),
        *under("stages.*.blocks.*.", "stages.*.*.", block),
        *linear("head.norm", "norm"),
    ]


def _from_shapes(
    state: Mapping[str, Tensor], stem: str, layer: str, *, eps: float = 1e-6, layer_scale: float = 1e-6
) -> ConvNeXtConfig:
    """`stem` and `layer` are how a naming calls the first convolution, and begins the blocks of a stage."""
    stages = range(depth(state, "stages."))
    gain = "stages.{}." + layer + "0.gamma"
    return ConvNeXtConfig(
        depths=tuple(depth(state, f"stages.{stage}.{layer}") for stage in stages),
        widths=tuple(len(state[gain.format(stage)]) for stage in stages),
        channels=state[stem].shape[1],
        layer_scale=layer_scale,
        eps=eps,
    )


def official_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ConvNeXtConfig:
    """Every size stands in the shapes."""
    return _from_shapes(state, "downsample_layers.0.0.weight", "")


def transformers_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ConvNeXtConfig:
    """Every size stands in the shapes, the epsilon in config.json."""
    c = file or {}
    if c.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f"config.json: hidden_act {c['hidden_act']!r} is not one ConvNeXt is built with (gelu)")
    return _from_shapes(
        state, "stages.0.downsample_layers.0.weight", "layers.", eps=float(c.get("layer_norm_eps", 1e-6))
    )


def timm_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ConvNeXtConfig:
    """Every size stands in the shapes; what does not, in timm's model_args, where it is not the usual one."""
    arguments: Mapping[str, Any] = (file or {}).get("model_args") or {}
    eps, scale = (float(arguments.get(key) or 1e-6) for key in ("norm_eps", "ls_init_value"))
    return _from_shapes(state, "stem.0.weight", "blocks.", eps=eps, layer_scale=scale)


def timm_json(c: ConvNeXtConfig) -> dict[str, Any]:
    """The config.json with which timm rebuilds the model."""
    names = {(sizes.depths, sizes.widths): name.removeprefix("dinov3-") for name, sizes in PRESETS.items()}
    return {
        "architecture": names.get((c.depths, c.widths), "convnext-tiny").replace("-", "_"),
        "num_classes": 0,
        "num_features": c.widths[-1],
        "global_pool": "avg",
        "model_args": {
            "depths": list(c.depths),
            "dims": list(c.widths),
            "in_chans": c.channels,
            "norm_eps": c.eps,
            "ls_init_value": c.layer_scale,
        },
    }


def transformers_json(c: ConvNeXtConfig) -> dict[str, Any]:
    """The config.json with which transformers rebuilds the model."""
    return {
        "architectures": ["DINOv3ConvNextModel"],
        "model_type": "dinov3_convnext",
        "hidden_sizes": list(c.widths),
        "depths": list(c.depths),
        "num_channels": c.channels,
        "hidden_act": "gelu",
        "layer_norm_eps": c.eps,
        "layer_scale_init_value": c.layer_scale,
    }


FORMATS = (
    Format(
        family="convnext",
        naming="official",
        marks=(("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight", "norm.weight"),),
        rows=official_rows,
        read=official_config,
        tied=official_ties,
        preprocess=picture,
    ),
    Format(
        family="convnext",
        naming="timm",
        marks=(("stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "head.norm.weight"),),
        rows=timm_rows,
        read=timm_config,
        file="config.json",
        describe=timm_json,
        preprocess=timm_picture(224),
    ),
    Format(
        family="convnext",
        naming="transformers",
        marks=(("stages.0.downsample_layers.0.weight", "stages.0.layers.0.depthwise_conv.weight"),),
        rows=transformers_rows,
        read=transformers_config,
        file="config.json",
        describe=transformers_json,
        preprocess=picture,
    ),
)
FAMILIES = (
    Family(
        name="convnext",
        system="DINOv3",
        reads="pictures",
        model=ConvNeXt,
        config=ConvNeXtConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=lambda model: picture_features(model, patch=32, side=96),
    ),
)
