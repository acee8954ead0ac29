"""What runs on the parent instance, outside and untrusted."""
