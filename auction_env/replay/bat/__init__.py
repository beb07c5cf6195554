"""BAT, Avito's campaigns with the outcomes of every bid in every hour: reading, and a market in which to bid."""
