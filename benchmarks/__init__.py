"""The benchmark suite that `pytest benchmarks --model MODULE:CLASS` runs."""
