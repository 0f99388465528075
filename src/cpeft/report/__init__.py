"""Reads run folders only; imports no torch."""
