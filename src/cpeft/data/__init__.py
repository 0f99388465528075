"""Data: where rows come from (`resolve`), who sees which of them (`splits`) and how few (`few_shot`)."""
