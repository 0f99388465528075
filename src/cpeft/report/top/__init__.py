"""The top of the report: the answer in sentences, the leaderboard and its pictures."""
