"""`sensorium serve`: listen, say where, open the browser, stop quietly."""

import errno
import socket
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

from sensorium.app.collection import load_model, open_index
from sensorium.app.console import stderr, stdout, waiting
from sensorium.app.guard import is_loopback, names_of
from sensorium.app.moments import tally
from sensorium.data.errors import SensoriumError


def serve_index(folder: Path | None, *, host: str, port: int, browse: bool, look: str | None = None) -> None:
    """Serve the page until interrupted; `look` is the model that it looks into, where that is not the index's.

    Raises SensoriumError when there is no index or the port is taken.
    """
    with listen(host, port) as listener, open_index(folder) as index:
        with waiting("opening the page …"):
            import uvicorn

            from sensorium.app.inside import Inside
            from sensorium.app.web import create_page

            inside = None if look is None else Inside(load_model(look, precision="fp32"))
            page = create_page(index, answers=names_of(host), inside=inside)
        listener.listen()  # so that whoever reads the address below and is quick is not turned away
        address = address_of(listener, host)
        stats = index.stats()
        stdout().print(f"[mark]{address}[/]  [quiet]{tally(stats.kinds, stats.moments)}; stop with Ctrl-C")
        if not is_loopback(host):
            stderr().print(
                f"[bold yellow]warning:[/] {host} is not this machine alone: everyone who reaches it sees every "
                "indexed file. Leave --host out to keep the page to yourself."
            )
        if browse:
            opening = threading.Timer(0.5, webbrowser.open, [address])
            opening.daemon = True
            opening.start()
        config = uvicorn.Config(
            page, log_level="warning", access_log=False, timeout_graceful_shutdown=2, server_header=False
        )
        with suppress(KeyboardInterrupt):  # how the page is meant to be left; uvicorn raises it once more, mostly
            uvicorn.Server(config).run(sockets=[listener])
        stderr().print("[quiet]stopped")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; before the model is loaded, so that a taken port is told at once.

    Raises SensoriumError with the remedy when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise SensoriumError(f"port {port} is taken: stop what uses it, or choose another with --port") from None
        reason = error.strerror if isinstance(error, OSError) else "ports lie in 0..65535"
        raise SensoriumError(f"cannot listen on {host}:{port}: {reason}") from None
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """The page's address as a person opens it on this machine."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"
