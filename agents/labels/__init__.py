"""From logged trajectories to what the policy learns: relabelling, the response model, hindsight-optimal actions."""
