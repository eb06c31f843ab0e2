"""Architectures and position schemes of the `length` task, one file each."""
