"""Commands that say what policies are worth: played (`evaluate`, `watch`), or from logs alone (`ope`)."""
