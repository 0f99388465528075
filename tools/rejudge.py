"""Judges the published significance of task prompt vectors again and writes the page.

python tools/rejudge.py src/cpeft/report/published/published.json docs/rejudged.md
"""

import json
import sys
from pathlib import Path

from cpeft.report.published.rejudged import rejudged_page

if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    page = rejudged_page(json.loads(source.read_text(encoding="utf-8")))
    out.write_text(page, encoding="utf-8", newline="\n")
