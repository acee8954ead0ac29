"""The vectors of sessions and receipts, and the generator that makes the same files on every machine."""
