"""Charts as data, and their drawing by Vega. What is known of runs and networks does not belong here."""
