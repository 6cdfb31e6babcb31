"""One file a trained model: its docstring says the command, the cost and the expected score."""

# What `sensorium train NAME` runs: "module:function", imported when it is asked for.
RECIPES = {
    "clip": "sensorium.training.recipes.clip:clip",
    "dino-txt": "sensorium.training.recipes.dino_txt:dino_txt",
    "dinov3": "sensorium.training.recipes.dinov3:dinov3",
    "dinov3-distill": "sensorium.training.recipes.dinov3_distill:dinov3_distill",
    "dinov3-highres": "sensorium.training.recipes.dinov3_highres:dinov3_highres",
    "dinov3-gram": "sensorium.training.recipes.dinov3_gram:dinov3_gram",
    "imagebind": "sensorium.training.recipes.imagebind:imagebind",
    "imagebind-tune": "sensorium.training.recipes.imagebind_tune:imagebind_tune",
    "vit": "sensorium.training.recipes.vit:vit",
}
