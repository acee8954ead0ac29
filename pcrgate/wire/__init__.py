"""Frame and encode what crosses the vsock."""
