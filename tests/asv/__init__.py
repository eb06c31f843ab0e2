"""Benchmarks of the harness itself, run by asv (see asv.conf.json)."""
