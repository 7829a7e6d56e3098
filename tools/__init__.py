"""Build tools that are not part of the image: generated documents and manifests, and the prose check."""
