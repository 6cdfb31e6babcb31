"""Planted pairs: four colours, each with a pitch, a slant of depth, a warm side and a motion, and words for it."""

import json
from pathlib import Path

import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image

from sensorium.checkpoints.load import save_model
from sensorium.data.preprocess import clip as clip_steps
from tests import tiny

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (240, 240, 240)}
RATE = 16000


def make(folder: Path, count: int = 32, *, seconds: float = 2.5) -> Path:
    """The pairs and, in `clip`, a CLIP that is random but sees colours; returns the list. Three quarters
    of it stand in train.jsonl, the others in held.jsonl."""
    dice = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    axes = [f"{sensor}_{axis}" for sensor in ("accel", "gyro") for axis in "xyz"]
    said = {"rate": 400, "acceleration": "m/s2", "rotation": "rad/s", "columns": axes}
    (folder / "motion.json").write_text(json.dumps(said))
    rows, ramp = [], np.linspace(0, 1, 48)
    for i in range(count):
        name, kind = list(COLOURS)[i % 4], i % 4
        picture = np.array(COLOURS[name]) + dice.integers(-25, 25, (48, 48, 3))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        t = np.arange(int(seconds * RATE)) / RATE
        tone = np.sin(2 * np.pi * 300 * 2**kind * t) + 0.05 * dice.standard_normal(len(t))
        soundfile.write(folder / f"{i}.wav", 0.2 * tone, RATE)
        slope = np.rot90(np.broadcast_to(ramp, (48, 48)), kind) + 0.02 * dice.standard_normal((48, 48))
        np.save(folder / f"depth-{i}.npy", (1 + slope).astype(np.float32))
        np.save(folder / f"thermal-{i}.npy", (20 + 10 * slope).astype(np.float32))
        turn = np.sin(np.arange(2400)[:, None] / 400 * 2 * np.pi * (kind + 1) + np.arange(6))
        np.save(folder / f"motion-{i}.npy", turn + 0.05 * dice.standard_normal((2400, 6)))
        files = {"audio": f"{i}.wav"} | {sense: f"{sense}-{i}.npy" for sense in ("depth", "thermal", "motion")}
        rows.append(
            {"image": f"{i}.png", "text": f"a {name} thing", "label": kind, "unit": "m", "focal": 500.0, **files}
        )
    for name, some in (("pairs", rows), ("train", rows[: 3 * count // 4]), ("held", rows[3 * count // 4 :])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)) + "\n")
    save_model(tiny.with_vocabulary(), folder / "clip", naming="transformers", steps=clip_steps(32))
    return folder / "pairs.jsonl"
