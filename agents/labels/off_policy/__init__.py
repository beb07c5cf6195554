"""Off-policy evaluation: what a policy is worth, from logs of others, with intervals and warnings."""
