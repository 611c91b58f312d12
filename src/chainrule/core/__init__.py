"""What every other folder may use: errors, registries, declared fields, files, locks, seeds.

Nothing here knows networks, data or runs.
"""
