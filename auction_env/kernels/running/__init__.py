"""How compiled kernels run: on how many threads, and that none of an older source is used."""
