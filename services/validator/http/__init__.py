"""The validator over HTTP, on an internal port."""
