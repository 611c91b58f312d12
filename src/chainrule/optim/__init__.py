"""Optimizers: what one is (`optimizer`), the rules themselves (`optimizers`), and learning rate schedules (`schedules`).

They know arrays, and no networks or engines.
"""
