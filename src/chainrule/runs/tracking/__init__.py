"""Mirroring a run elsewhere while it trains: `start`, `log` after each epoch, `report` and `finish`."""
