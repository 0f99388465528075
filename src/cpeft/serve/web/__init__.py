"""The HTTP side of a server. No torch here."""
