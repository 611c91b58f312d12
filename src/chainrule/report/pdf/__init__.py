"""A report as LaTeX and PDF."""
