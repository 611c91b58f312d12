"""Hyperparameter sweeps: many runs over a search space."""
