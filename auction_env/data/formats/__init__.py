"""One module a file format: AuctionNet's CSV (read, import, export), NumPy and Minari."""
