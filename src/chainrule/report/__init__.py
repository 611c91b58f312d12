"""Reports on runs and sweeps, as data: sections of Markdown and charts. `html` and `pdf` write them."""
