"""Runs at work: what is planned, claimed, trained, scored and written."""
