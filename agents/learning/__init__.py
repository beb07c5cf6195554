"""What all learners share: settings, checkpoints, the observation and the scale of the reward."""
