"""Bidders that pace a budget along a spending plan: adaptive pacing, budget pacer, TA-PID, Mystique, BROI."""
