"""How to read the page: what its numbers, intervals and verdicts mean, in one place for all sections."""

from typing import Any

from cpeft.report.section import Page, section


@section("reading", "How to read this page", 190)
def reading(page: Page) -> dict[str, Any]:
    """The same on every page."""
    return {}
