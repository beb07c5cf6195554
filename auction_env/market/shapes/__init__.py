"""Shapes of the traffic: its curve over the day, and the distribution of predicted values."""
