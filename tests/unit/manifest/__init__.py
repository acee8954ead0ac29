"""Tests of the release manifest."""
