"""The import API."""
