"""The training loop, its history, its checkpoints and callbacks.

It knows networks, data and engines, and neither run folders nor a terminal.
"""
