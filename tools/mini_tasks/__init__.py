"""The grammars that wrote the rows of the `mini/*` tasks. `python -m tools.mini_tasks` writes them again, the same ones."""
