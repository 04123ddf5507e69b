"""Speed side by side, in one run. See `python -m tests.benchmarks --help`."""
