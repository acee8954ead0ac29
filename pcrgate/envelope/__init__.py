"""Open what was sealed: recipient envelopes, weights, sessions."""
