"""`ope/v1`: offline estimates of policies against what the policies score when they are played."""
