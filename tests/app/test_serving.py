"""`sensorium serve` as people start and stop it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sensorium.app.serving import address_of, listen
from sensorium.data.errors import SensoriumError
from sensorium.search.index import Index
from tests.app.colours import Colours


def test_a_taken_port_is_told_with_the_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SensoriumError, match=r"is taken.*--port"):
            listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")])
def test_the_address_is_one_that_a_browser_opens(host: str, name: str):
    with listen("127.0.0.1", 0) as listener:
        assert address_of(listener, host) == f"http://{name}:{listener.getsockname()[1]}/"


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_it_serves_until_ctrl_c_and_ends_well(tmp_path: Path, pictures: Path):
    with Index.open(tmp_path / "index", Colours()) as index:
        index.update(pictures)
    script = (
        "import sys, sensorium\nfrom sensorium.app.cli import main\nfrom tests.app.colours import Colours\n"
        "sensorium.load = lambda name, **_: Colours()\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "serve", "--port", "0", "--index", str(tmp_path / "index")]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    root = Path(__file__).parents[2]
    server = subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = server.stdout.readline()
    address = said.split()[0]
    assert "12 pictures" in said
    with urllib.request.urlopen(address + "api/search?q=red", timeout=20) as answer:
        assert b'"red ' in answer.read()
    stranger = urllib.request.Request(address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(stranger, timeout=20)
    refused.value.close()
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out, err) == (0, "", "stopped\n")
