"""The training loop, its history and its checkpoints. It knows networks and engines, no run folders, no terminal."""
