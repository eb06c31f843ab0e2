"""A benchmark harness and leaderboard for the limits of learned representations."""

__version__ = "0.1.0"
