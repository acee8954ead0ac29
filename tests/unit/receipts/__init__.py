"""Receipts: claims, envelope, chain, bundle, command line."""
