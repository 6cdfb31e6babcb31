"""What is said of work before the first step."""

import pytest

from sensorium.training import progress
from sensorium.training.progress import Ahead


def test_work_before_the_first_step_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock)
    ahead, quiet = Ahead("pictures seen", 600, quiet=False), Ahead("pictures seen", 600, quiet=True)
    for done in range(10, 601, 10):
        clock += 2.0
        ahead.show(done)
        quiet.show(done)
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "pictures seen 150/600  5/s  1 min 30 s left",
        "pictures seen 300/600  5/s  1 min 00 s left",
        "pictures seen 450/600  5/s  30 s left",
        "pictures seen 600/600  5/s",
    ]


def test_what_takes_seconds_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    ahead = Ahead("pictures seen", 2, quiet=False)
    ahead.show(1)
    ahead.show(2)
    assert capsys.readouterr().err == ""
