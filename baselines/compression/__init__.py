"""Methods of the `compression` family, a folder a task."""
