"""Writes docs/claims.md: python -m studies.claims"""

from studies.claims.page import PAGE, written

if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8", newline="\n")
