"""Make, verify and chain receipts."""
