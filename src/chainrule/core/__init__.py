"""What every other folder may use: errors, registries, declared fields, files, locks, seeds. Nothing of networks."""
