"""The search space: sweep files, parameters and their distributions. Trials and workers do not belong here."""
