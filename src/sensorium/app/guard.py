"""The page's doorkeeper: who may ask, how much they may send, and what a browser may do with what comes back.

A page on 127.0.0.1 is within reach of every web site the user visits: by a name that is made to resolve to 127.0.0.1
(DNS rebinding), and by requests sent from another site's page. Both are turned away before any code of the page runs.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def names_of(host: str) -> Callable[[str], bool]:
    """Whether a Host header's name may be answered by a server that listens on `host`.

    On a loopback address: the names of the loopback only. Elsewhere: any bare address, which no rebinding can forge,
    and this machine's own name.
    """
    if is_loopback(host):
        return LOOPBACK.__contains__
    machine = socket.gethostname().lower()
    own = LOOPBACK | {host.lower(), machine, f"{machine}.local"}
    return lambda name: name in own or _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    return host in LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware: Host and origin checks, a limit on the request's bytes, security headers on every response."""

    def __init__(self, app: ASGIApp, *, answers: Callable[[str], bool], largest_body: int) -> None:
        self.app = app
        self.answers = answers
        self.largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the page."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        guarded = _with_headers(send)
        headers = Headers(scope=scope)
        if not self.answers(_name(headers.get("host", ""))):
            await _refuse(403, "this server does not answer to that name", scope, receive, guarded)
        elif headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            await _refuse(403, "requests from other sites are not answered", scope, receive, guarded)
        elif _declared(headers) > self.largest_body:
            await _refuse(413, self._too_large, scope, receive, guarded, close=True)
        else:
            await self.app(scope, self._counted(receive), guarded)

    @property
    def _too_large(self) -> str:
        return f"too large: at most {self.largest_body >> 20} MB can be sent"

    def _counted(self, receive: Receive) -> Receive:
        """`receive`, stopping a body that says nothing of its length, or lies, at the limit."""
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self.largest_body:
                raise HTTPException(413, self._too_large)  # the kind that FastAPI's form parser lets through
            return message

        return counted


def _name(host: str) -> str:
    """The name in a Host header, without its port or an IPv6 address's brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded


def _refuse(
    status: int, reason: str, scope: Scope, receive: Receive, send: Send, *, close: bool = False
) -> Awaitable[None]:
    pairs: Iterable[tuple[str, str]] = (("connection", "close"),) if close else ()
    return JSONResponse({"error": reason}, status, headers=dict(pairs))(scope, receive, send)
