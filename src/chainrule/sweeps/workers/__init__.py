"""Where trials run: processes of this machine, or a cluster. Workers know one trial and no sweep."""
