"""The mathematics of a network, alone: layers, activations, losses, objectives, initializers, the two passes.

Nothing here knows optimizers, engines or training.
"""
