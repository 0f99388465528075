"""One self-contained HTML file of a store: what was run, what came out, and how sure one can be of it.

The file needs nothing else: no font, no picture, no script from elsewhere; its Content-Security-Policy forbids them. Its own
script (`templates/page.js`) sorts and filters tables, saves tables and figures and searches answers; without it everything
else is there. It is made from run folders alone, and the same store gives the same bytes. Its sections are those of
`cpeft.report.section`: the first ones answer what was found, the others are details in folds.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cpeft.errors import ConfigError
from cpeft.report.render.files import Writable, parts_of
from cpeft.report.section import SECTIONS, Page, Section
from cpeft.report.study import Study
from cpeft.store.run_folder import Store

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Report:
    """A page, the file it is for, and the tables and pictures that it shows."""

    path: Path
    html: str
    parts: tuple[Writable, ...]

    @classmethod
    def of(cls, store: Path, paper: str | None = None, other: Path | None = None, out: Path | None = None) -> "Report":
        """The report of a store's finished runs, beside the published figures of `paper` (`attempt`, `tpv`) and the same runs
        of another store if they are named; for the file `out`, by default one in the store whose name says what it is set
        beside. Raises ConfigError where there is nothing to show."""
        study = _opened(store)
        path = out or store / file_name(paper, other)
        asked = [*([str(other)] if other else []), *(["--against", paper] if paper else [])]
        command = shlex.join(["cpeft", "report", str(study.store.path), *asked])
        page = Page(study, command, paper, None if other is None else _opened(other), path.parent)
        sections = sorted((section for _, section in SECTIONS.items()), key=lambda section: section.order)
        found = [(section, values) for section in sections if (values := section(page)) is not None]
        return cls(path, _rendered(page, found), tuple(parts_of([values for _, values in found])))

    def write(self) -> Path:
        """Write the page; its path."""
        self.path.write_text(self.html, encoding="utf-8", newline="\n")
        return self.path


def write_report(store: Path, out: Path | None = None, paper: str | None = None, other: Path | None = None) -> Path:
    """Write the page of a store, as `Report.of` makes and names it; its path."""
    return Report.of(store, paper, other, out).write()


def _rendered(page: Page, found: Sequence[tuple[Section, Mapping[str, Any]]]) -> str:
    folders = dict.fromkeys([TEMPLATES, *(section.folder for section, _ in found)])
    templates = Environment(
        loader=FileSystemLoader(list(folders)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    html = templates.get_template("report.html").render(
        title=" and ".join(page.study.names) or page.study.store.path.resolve().name,
        abouts=page.study.abouts,
        sections=[(each, Markup(templates.get_template(f"{each.name}.html").render(values))) for each, values in found],
        script=script,
        allowed=base64.b64encode(
            hashlib.sha256(script.encode()).digest()
        ).decode(),  # the policy names this script alone
    )
    return html.strip() + "\n"


def file_name(paper: str | None = None, other: Path | None = None) -> str:
    """`report.html`, or a name of its own for a page beside something, so that none takes the place of another."""
    parts = [f"beside-{re.sub(r'[^A-Za-z0-9_.-]+', '-', other.resolve().name)}"] if other is not None else ["report"]
    return "-".join([*parts, *([f"against-{paper}"] if paper else [])]) + ".html"


def _opened(store: Path) -> Study:
    study = Study.of(Store(store))
    if not (study.runs or study.tries):
        raise ConfigError(f"{store}: no finished run; give a store, the folder that `cpeft run` fills with STAGE/RUN")
    return study
