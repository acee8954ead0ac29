"""Make, sign and check release manifests."""
