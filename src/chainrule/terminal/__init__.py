"""Interaction with a terminal: progress, notes, Ctrl-C. Knows nothing of run folders or flags."""
