"""Gymnasium and PettingZoo environments over the simulation: single, vector and parallel."""
