"""iPinYou's logs of bids, impressions, clicks and conversions: columns, reading, the join by bid, the import."""
