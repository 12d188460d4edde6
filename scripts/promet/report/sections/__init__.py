"""One folder per section of the page: figures.py, tables.py and section.html."""
