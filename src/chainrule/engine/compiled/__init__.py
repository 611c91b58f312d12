"""The compiled engine: the same rules as machine code. docs/engine.md explains how it works."""
