"""Other forms of the market: one episode at a time, and on a CUDA device."""
