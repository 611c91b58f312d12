"""Feedforward classifiers with backpropagation written by hand on NumPy."""

__version__ = "0.1.0"
