"""A local stand-in for the hub: the part of its HTTP interface that reading files of a repository at a commit takes."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34
Files = dict[str, bytes]


@contextmanager
def hub(datasets: dict[str, Files], models: dict[str, Files]) -> Iterator[str]:
    """The address of a hub with these repositories, each with its files; every revision is COMMIT."""
    repositories = {("datasets", name): files for name, files in datasets.items()}
    repositories |= {("models", name): files for name, files in models.items()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(repositories))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(repositories: dict[tuple[str, str], Files]) -> type[BaseHTTPRequestHandler]:
    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bytes = b"") -> None:
            path = unquote(self.path.partition("?")[0])
            if path == "/":
                self._send(b"hub")
            elif match := re.fullmatch(
                r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/(.*))?", path
            ):
                kind, name, what, rest = match.groups()
                self._about(repositories.get((kind, name)), name, what, (rest or "").partition("/")[2], body)
            elif match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                files = repositories.get(("datasets" if match[1] else "models", match[2]), {})
                self._file(files.get(match[3]))
            else:
                self._missing()

        def _about(self, files: Files | None, name: str, what: str | None, below: str, body: bytes) -> None:
            if files is None:
                self._missing()
                return
            entries = [_entry(path, content) for path, content in files.items()]
            folders = {path.rpartition("/")[0] for path in files if "/" in path}
            entries += [{"type": "directory", "path": path, "oid": COMMIT, "size": 0} for path in folders]
            if what == "tree":
                self._json([entry for entry in entries if str(entry["path"]).startswith(f"{below}/" if below else "")])
            elif what == "paths-info":
                asked = set(json.loads(body)["paths"])
                self._json([entry for entry in entries if entry["path"] in asked])
            else:
                siblings = [{"rfilename": path} for path in files]
                self._json(
                    {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "gated": False, "tags": []}
                )

        def _file(self, content: bytes | None) -> None:
            if content is None:
                self._missing("EntryNotFound")
                return
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, last = (int(span[1]), int(span[2] or len(content) - 1)) if span else (0, len(content) - 1)
            part = {"Content-Range": f"bytes {first}-{last}/{len(content)}"} if span else {}
            etag = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            self._send(content[first : last + 1], 206 if span else 200, {**etag, **part})

        def _json(self, value: object) -> None:
            self._send(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

        def _missing(self, code: str = "RepoNotFound") -> None:
            self._send(b"{}", 404, {"X-Error-Code": code, "X-Error-Message": "not here"})

        def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Hub


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": _digest(content)}
