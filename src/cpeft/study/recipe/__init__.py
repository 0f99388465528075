"""A recipe on paper: files, tables, stages, and the runs they expand to."""
