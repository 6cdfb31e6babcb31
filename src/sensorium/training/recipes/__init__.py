"""One file a trained model: its docstring says the command, the cost and the expected score."""

# What `sensorium train NAME` runs: "module:function", imported when it is asked for.
RECIPES = {
    "clip": "sensorium.training.recipes.clip:clip",
    "vit": "sensorium.training.recipes.vit:vit",
}
