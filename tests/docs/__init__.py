"""Generate the documents that are made from the code; ``make check`` shows when one is out of date."""
