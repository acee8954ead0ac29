"""Test the envelope: recipient, materials, weights, model files."""
