"""The search space: sweep files, parameters and their distributions. It knows no trials and no workers."""
