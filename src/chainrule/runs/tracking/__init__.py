"""Trackers: those who are told about a run while it happens."""
