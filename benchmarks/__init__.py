"""How fast CPEFT is beside its peers, as ratios measured in one interleaved run. `python -m benchmarks --help`."""
