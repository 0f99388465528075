"""Formulas of prompts, as in `origin0 + v(mnli) - 0.5*v(qnli)`: their functions, trees, text, templates and values."""
