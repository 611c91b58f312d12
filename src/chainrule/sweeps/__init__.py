"""Sweeps: many runs over a space of settings, from a file in W&B's sweep format, without an account or a server."""
