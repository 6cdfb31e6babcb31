"""What holds for every test: one thread, and the shapes in signatures are checked while tests run."""

import torch
from jaxtyping import install_import_hook

# Models in tests are tiny: on a busy machine the threads of an operation wait for each other longer than it takes.
torch.set_num_threads(1)

# Before any of these modules is imported. Compiled models cannot hold the checks: see tests/models/test_compile.py.
install_import_hook(
    ["sensorium.nn", "sensorium.models", "sensorium.objectives", "sensorium.tasks", "sensorium.insight"],
    "beartype.beartype",
)
