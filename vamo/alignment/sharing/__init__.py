"""Rules that choose, before training, what each target learns from."""
