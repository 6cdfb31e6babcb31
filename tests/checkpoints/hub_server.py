"""A stand-in for the Hugging Face hub on this machine: enough of its protocol for `hf_hub_download`.

Files are served with an ETag, their commit and ranges; what goes wrong on the real hub can be made to go wrong here.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Repository:
    """Files by revision (a branch, tag or commit), and which commit each revision is."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    others: dict[str, tuple[str, dict[str, bytes]]] = field(default_factory=dict)  # revision -> commit, files
    gated: bool = False

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and the files of a revision, or None."""
        if revision in ("main", self.commit):
            return self.commit, self.files
        for name, (commit, files) in self.others.items():
            if revision in (name, commit):
                return commit, files
        return None


@dataclass
class Hub:
    """What the server knows and what it was asked. `cut` bytes into a download, once, the connection breaks."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    cut: int | None = None
    always_cut: bool = False
    down: bool = False

    def asked(self, method: str) -> list[str]:
        """The names of the files asked for by this method."""
        return [path.rsplit("/", 1)[-1] for verb, path, _ in self.requests if verb == method]


class Server(ThreadingHTTPServer):
    """Serves a Hub on a free port of this machine."""

    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of /organisation/name/resolve/revision/file."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        """What a file is, without it."""
        self.answer(body=False)

    def do_GET(self) -> None:
        """A file, or a range of it."""
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        """Find the file, or say what is wrong in the hub's own headers."""
        hub = self.server.hub
        hub.requests.append((self.command, self.path, self.headers.get("Range")))
        parts = self.path.lstrip("/").split("/", 4)
        if hub.down:
            return self.refuse(503, "")
        if len(parts) != 5 or parts[2] != "resolve":
            return self.refuse(404, "RepoNotFound")
        repository = hub.repositories.get("/".join(parts[:2]))
        if repository is None:
            return self.refuse(401, "RepoNotFound")
        if repository.gated:
            return self.refuse(403, "GatedRepo")
        found = repository.at(parts[3])
        if found is None:
            return self.refuse(404, "RevisionNotFound")
        commit, files = found
        if parts[4] not in files:
            return self.refuse(404, "EntryNotFound", commit)
        self.send(files[parts[4]], commit, body=body)
        return None

    def refuse(self, status: int, code: str, commit: str | None = None) -> None:
        """An error as the hub sends it."""
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content: bytes, commit: str, *, body: bool) -> None:
        """The file from where the range begins; cut where the hub is told to."""
        hub = self.server.hub
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        if hub.cut is not None and len(content) > hub.cut:
            self.wfile.write(content[start : hub.cut])
            self.wfile.flush()
            self.close_connection = True
            if not hub.always_cut:
                hub.cut = None
            self.connection.close()
            return
        self.wfile.write(content[start:])
