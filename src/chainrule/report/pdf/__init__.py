"""A report as PDF."""
