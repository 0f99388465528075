"""Sections of the report that every store may have."""
