"""What docs/senses.md says, run as it stands there."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file

from sensorium.checkpoints.load import save_model
from tests import tiny
from tests.data.test_depth import png, ramp
from tests.data.test_motion import NAMES, clock, signal, table
from tests.data.test_segments import film, tone
from tests.data.test_thermal import celsius
from tests.tiny_senses import CONFIG, everything

GUIDE = Path(__file__).parents[2] / "docs" / "senses.md"


def test_the_guide_s_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "walk.mp4", [2 * i for i in range(60)], sound=tone(6.0, 16000)[None])
    png(tmp_path / "room.png", ramp() * 1000)
    np.save(tmp_path / "room.npy", ramp())
    Image.fromarray(((celsius() + 273.15) * 100).round().astype(np.uint16)).save(tmp_path / "hand.tiff")
    times = clock(200, 6)
    g = np.array([9.80665] * 3 + [1] * 3)
    table(tmp_path / "walk.csv", times, signal(times) / g, ("t_s", *NAMES[:3], *(f"{n} (rad/s)" for n in NAMES[3:])))
    everything(tmp_path / "album")
    Image.new("RGB", (60, 40), "red").save(tmp_path / "album" / "me.jpg")
    soundfile.write(tmp_path / "album" / "song.wav", tone(3.0, 16000), 16000)
    (tmp_path / "album" / "notes.txt").write_text("nothing to embed")
    weights = save_model(tiny.build(CONFIG), tmp_path / "weights", naming="imagebind")
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save(load_file(weights), tmp_path / "imagebind_huge.pth")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    checked = 0
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
        for line in block.splitlines():
            code, _, said = line.partition("  # ")
            if not said or line.startswith(" "):
                continue
            result, expected = eval(code, names), eval(f"({said},)")
            if code.endswith(".got"):
                assert result.startswith(expected[0].removesuffix("..."))
            else:
                assert tuple(result) == expected, line
            checked += 1
    assert len(blocks) == 5
    assert checked == 13
    assert names["file"].pieces > 0
    assert len(names["files"]) - len(names["jobs"]) == 3, "depth.json, the notes, and heat that this part does not see"
