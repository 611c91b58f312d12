"""Charts as data, and their drawing by matplotlib. What is known of runs and networks does not belong here."""
