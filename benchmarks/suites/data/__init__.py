"""What a suite's variant is made of: logs to train on, tasks to tune for, test episodes."""
