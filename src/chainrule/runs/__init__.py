"""A run, from its configuration to its folder: training, testing, recording. `tracking` mirrors it elsewhere."""
