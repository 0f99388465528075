"""Sections of the report on task vectors: starts, sums, transfer, similarity."""
