"""The mathematics of a network, alone: layers, activations, losses, initializers, forward and backward pass.

Nothing here knows data sets, optimizers, engines or files other than a saved model.
"""
