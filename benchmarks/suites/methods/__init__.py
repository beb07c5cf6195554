"""What a suite compares: how each kind of method is trained and tuned."""
