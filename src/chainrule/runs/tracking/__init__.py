"""Trackers, which mirror a run elsewhere while it trains. The run folder is no tracker: it is the run."""
