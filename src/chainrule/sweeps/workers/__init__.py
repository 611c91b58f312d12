"""Workers, which run trials: processes of this machine, or a cluster. They know one trial at a time and no sweep."""
