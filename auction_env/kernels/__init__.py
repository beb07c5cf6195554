"""All numba code of the market: arrays in, arrays written, no Python objects."""
