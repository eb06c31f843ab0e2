"""Indexes of the `hnsw` task, one file each."""
