"""The page at `/`: rows by hand, answers as a table. Its files hold nothing secret, so they need no key; its requests do."""

from importlib.resources import files
from string import Template

from fastapi import FastAPI, Response

from cpeft.serve.results import Limits

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def add_page(app: FastAPI, limits: Limits) -> None:
    """Add the page's routes to `app`. The page splits rows into requests that keep to `limits`."""
    folder = files("cpeft.serve.web") / "page"
    for path, (name, kind) in FILES.items():
        text = (folder / name).read_text(encoding="utf-8")
        if path == "/":
            text = Template(text).substitute(rows=limits.rows, bytes=limits.body)
        _add_file(app, path, Response(text, headers=HEADERS, media_type=kind))


def _add_file(app: FastAPI, path: str, response: Response) -> None:
    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return response
