"""From labelled trajectories to batches: the model's inputs, windows and samplers."""
