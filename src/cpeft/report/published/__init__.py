"""Our results beside published figures."""
