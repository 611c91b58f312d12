"""Reports: what a set of runs has to tell, as one HTML page and as a PDF."""
