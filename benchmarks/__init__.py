"""Ours beside its peers: time, memory and the share of what the machine can do. `python -m benchmarks --help`."""
