"""Codecs and reducers of the `compression/vectors` task, one file each."""
