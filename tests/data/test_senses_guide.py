"""What docs/senses.md says, run as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.test_depth import png, ramp
from tests.data.test_motion import NAMES, clock, signal, table
from tests.data.test_segments import film, tone
from tests.data.test_thermal import celsius

GUIDE = Path(__file__).parents[2] / "docs" / "senses.md"


def test_the_guide_s_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "walk.mp4", [2 * i for i in range(60)], sound=tone(6.0, 16000)[None])
    png(tmp_path / "room.png", ramp() * 1000)
    np.save(tmp_path / "room.npy", ramp())
    Image.fromarray(((celsius() + 273.15) * 100).round().astype(np.uint16)).save(tmp_path / "hand.tiff")
    times = clock(200, 6)
    g = np.array([9.80665] * 3 + [1] * 3)
    table(tmp_path / "walk.csv", times, signal(times) / g, ("t_s", *NAMES[:3], *(f"{n} (rad/s)" for n in NAMES[3:])))
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
    assert len(blocks) == 3
    assert checked == 9
