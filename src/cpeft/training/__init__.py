"""The engine: trains any number of runs at once on one frozen model."""
