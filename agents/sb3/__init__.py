"""Stable-Baselines3 agents, trained by playing in the market."""
