"""Load: many sessions at once, by hand (``python -m tests.load``) and in short form in the suite."""
