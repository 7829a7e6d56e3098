"""What the build needs and the image does not: generated documents and manifests."""
