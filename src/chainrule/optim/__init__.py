"""Optimizers: what one is (`optimizer`), and the rules themselves (`optimizers`). They know arrays and no networks."""
