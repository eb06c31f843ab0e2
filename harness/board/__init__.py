"""The leaderboard: what records, statements about them and releases come to, for people to look at."""
