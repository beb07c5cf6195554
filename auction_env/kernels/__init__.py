"""All numba code of the project: arrays in, arrays written, no Python objects."""
