"""Studies made with CPEFT, one folder each; `python -m studies.NAME.claims` prints the figures of its page."""
