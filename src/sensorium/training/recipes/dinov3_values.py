"""What the authors of DINOv3 ran with (facebookresearch/dinov3, dinov3/configs), as plain data.

Keys and values are those of the published files; a recipe reads them, none of them is read by the losses.
"""

from typing import Any

from sensorium.training.schedules import Values, cosine, sqrt_wrt_1024, warmup_cosine

OFFICIAL: dict[str, dict[str, Any]] = {
    "ssl_default_config": {
        "total_iterations": 125000,
        "version": "v1",
        "batch_size_per_gpu": 64,
        "crops": {
            "global_crops_scale": [0.32, 1.0],
            "local_crops_scale": [0.05, 0.32],
            "local_crops_number": 8,
            "global_crops_size": 224,
            "local_crops_size": 96,
            "global_local_crop_pairs_ratios": 1.0,
            "horizontal_flips": True,
        },
        "weights": {
            "dino": 1.0,
            "ibot": 1.0,
            "koleo": 0.1,
            "koleo_distributed": False,
            "koleo_group": None,
            "global_ignore_diagonal": True,
        },
        "heads": {
            "dino": [65536, 2048, 256, 3],
            "ibot": [65536, 2048, 256, 3],
            "columns": ["prototypes", "hidden", "bottleneck", "layers"],
        },
        "masking": {"mask_sample_probability": 0.5, "mask_ratio_min_max": [0.1, 0.5], "random_circular_shift": False},
        "optim": {
            "clip_grad": 3.0,
            "betas": [0.9, 0.999],
            "layerwise_decay": 0.9,
            "patch_embed_lr_mult": 0.2,
            "dino_head_wd_multiplier": 1.0,
            "scaling_rule": "sqrt_wrt_1024",
            "epochs": 100,
            "epoch_length": 1250,
        },
        "student": {
            "arch": "vit_large",
            "patch_size": 16,
            "drop_path_rate": 0.3,
            "layerscale": 1e-05,
            "ffn_layer": "mlp",
            "ffn_ratio": 4.0,
            "qkv_bias": True,
            "norm_layer": "layernorm",
            "n_storage_tokens": 0,
            "mask_k_bias": False,
            "untie_cls_and_patch_norms": False,
            "untie_global_and_local_cls_norm": False,
            "pos_embed_rope_base": 100.0,
            "pos_embed_rope_normalize_coords": "separate",
            "pos_embed_rope_shift_coords": None,
            "pos_embed_rope_jitter_coords": None,
            "pos_embed_rope_rescale_coords": None,
            "pos_embed_rope_dtype": "bf16",
        },
        "schedules": {
            "lr": {"base": 0.001, "final": 1e-06, "warmup": 12500},
            "weight_decay": {"base": 0.04, "final": 0.4},
            "momentum": {"base": 0.992, "final": 1.0},
            "teacher_temp": {"base": 0.07, "final": 0.07, "warmup": 37500, "start": 0.04},
        },
        "frozen_last_layer": 1250,
    },
    "dinov3_vit7b16_pretrain": {
        "total_iterations": 1000000,
        "version": "v2",
        "batch_size_per_gpu": 16,
        "crops": {
            "global_crops_scale": [0.32, 1.0],
            "local_crops_scale": [0.05, 0.32],
            "local_crops_number": 8,
            "global_crops_size": 256,
            "local_crops_size": 112,
            "global_local_crop_pairs_ratios": 1.0,
            "horizontal_flips": False,
        },
        "weights": {
            "dino": 1.0,
            "ibot": 1.0,
            "koleo": 0.1,
            "koleo_distributed": False,
            "koleo_group": None,
            "global_ignore_diagonal": True,
        },
        "heads": {
            "dino": [262144, 8192, 512, 3],
            "ibot": [98304, 4096, 384, 3],
            "columns": ["prototypes", "hidden", "bottleneck", "layers"],
        },
        "masking": {"mask_sample_probability": 0.5, "mask_ratio_min_max": [0.1, 0.5], "random_circular_shift": False},
        "optim": {
            "clip_grad": 30.0,
            "betas": [0.9, 0.99],
            "layerwise_decay": 0.98,
            "patch_embed_lr_mult": 0.2,
            "dino_head_wd_multiplier": 1.0,
            "scaling_rule": "sqrt_wrt_1024",
            "epochs": 1000,
            "epoch_length": 1000,
        },
        "student": {
            "arch": "vit_7b",
            "patch_size": 16,
            "drop_path_rate": 0.4,
            "layerscale": 1e-05,
            "ffn_layer": "swiglu64",
            "ffn_ratio": 3,
            "qkv_bias": False,
            "norm_layer": "layernormbf16",
            "n_storage_tokens": 4,
            "mask_k_bias": True,
            "untie_cls_and_patch_norms": False,
            "untie_global_and_local_cls_norm": True,
            "pos_embed_rope_base": 100,
            "pos_embed_rope_normalize_coords": "separate",
            "pos_embed_rope_shift_coords": None,
            "pos_embed_rope_jitter_coords": None,
            "pos_embed_rope_rescale_coords": 2,
            "pos_embed_rope_dtype": "fp32",
        },
        "schedules": {
            "lr": {"start": 0.0, "peak": 5e-05, "end": 5e-05, "warmup": 100000},
            "weight_decay": {"start": 0.04, "peak": 0.04, "end": 0.04, "warmup": 0},
            "momentum": {"start": 0.994, "peak": 0.994, "end": 0.994, "warmup": 0},
            "teacher_temp": {"start": 0.04, "peak": 0.07, "end": 0.07, "warmup": 100000},
        },
        "frozen_last_layer": 5000,
    },
    "dinov3_vit7b16_gram_anchor": {
        "total_iterations": 1200000,
        "version": "v2",
        "batch_size_per_gpu": 16,
        "gram": {
            "loss_weight": 1.0,
            "ema_teacher": False,
            "it_load_ema_teacher": -1,
            "rep_update": True,
            "update_frequency": 10000,
            "it_first_update": 1010000,
            "max_updates": 3,
            "normalized": True,
            "img_level": True,
            "remove_neg": False,
            "remove_only_teacher_neg": False,
            "tokens_used": "all",
            "global_teacher_resize_method": "bicubic",
            "global_teacher_resize_antialias": False,
            "gram_teacher_crops_size": 512,
            "gram_teacher_no_distortions": True,
        },
        "crops": {
            "global_crops_scale": [0.32, 1.0],
            "local_crops_scale": [0.05, 0.32],
            "local_crops_number": 8,
            "global_crops_size": 256,
            "local_crops_size": 112,
            "global_local_crop_pairs_ratios": 1.0,
            "horizontal_flips": False,
        },
        "weights": {
            "dino": 1.0,
            "ibot": 1.0,
            "koleo": 0.1,
            "koleo_distributed": False,
            "koleo_group": None,
            "global_ignore_diagonal": True,
        },
        "heads": {
            "dino": [262144, 8192, 512, 3],
            "ibot": [98304, 4096, 384, 3],
            "columns": ["prototypes", "hidden", "bottleneck", "layers"],
        },
        "masking": {"mask_sample_probability": 0.5, "mask_ratio_min_max": [0.1, 0.5], "random_circular_shift": False},
        "optim": {
            "clip_grad": 30.0,
            "betas": [0.9, 0.99],
            "layerwise_decay": 0.98,
            "patch_embed_lr_mult": 0.2,
            "dino_head_wd_multiplier": 1.0,
            "scaling_rule": "sqrt_wrt_1024",
            "epochs": 1200,
            "epoch_length": 1000,
        },
        "student": {
            "arch": "vit_7b",
            "patch_size": 16,
            "drop_path_rate": 0.4,
            "layerscale": 1e-05,
            "ffn_layer": "swiglu64",
            "ffn_ratio": 3,
            "qkv_bias": False,
            "norm_layer": "layernormbf16",
            "n_storage_tokens": 4,
            "mask_k_bias": True,
            "untie_cls_and_patch_norms": False,
            "untie_global_and_local_cls_norm": True,
            "pos_embed_rope_base": 100,
            "pos_embed_rope_normalize_coords": "separate",
            "pos_embed_rope_shift_coords": None,
            "pos_embed_rope_jitter_coords": None,
            "pos_embed_rope_rescale_coords": 2,
            "pos_embed_rope_dtype": "fp32",
        },
        "schedules": {
            "lr": {"start": 0.0, "peak": 3e-05, "end": 3e-05, "warmup": 100000},
            "weight_decay": {"start": 0.04, "peak": 0.04, "end": 0.04, "warmup": 0},
            "momentum": {"start": 0.999, "peak": 0.999, "end": 0.999, "warmup": 0},
            "teacher_temp": {"start": 0.04, "peak": 0.07, "end": 0.07, "warmup": 100000},
            "dino_local_loss_weight": {"start": 1.0, "peak": 1.0, "end": 0.5, "warmup": 1000000, "decay": 1000},
            "gram_loss_weight": {"start": 0.0, "peak": 0.0, "end": 2.0, "warmup": 1000000, "decay": 1000},
        },
        "frozen_last_layer": 5000,
    },
}


def schedules(name: str, world_size: int) -> dict[str, Values]:
    """Every scheduled value of an official configuration over its whole run, on `world_size` processes.

    The second form of schedules scales its learning rate by the batch when it is built. The first takes the rate of the
    configuration as it stands: there the caller scales by `sqrt_wrt_1024` beforehand.
    """
    known = OFFICIAL[name]
    total, first = known["total_iterations"], known["version"] == "v1"
    form = cosine if first else warmup_cosine
    made = {key: form(total=total, **arguments) for key, arguments in known["schedules"].items()}
    if not first:
        made["lr"] = made["lr"] * sqrt_wrt_1024(known["batch_size_per_gpu"] * world_size)
    made["last_layer_lr"] = made["lr"].clone()
    made["last_layer_lr"][: known["frozen_last_layer"]] = 0
    return made
