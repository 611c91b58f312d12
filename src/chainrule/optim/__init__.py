"""Optimizers: what one is (`optimizer`), the rules themselves (`optimizers`), and schedules of their learning rate.

They know arrays, and no networks or engines.
"""
