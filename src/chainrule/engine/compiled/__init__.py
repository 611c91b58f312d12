"""The compiled engine: the same rules as machine code. docs/engine.md explains it.

Code that Numba compiles, and what plans and runs it, belongs here; mathematics does not: it is compiled from nn/ and
optim/.
"""
