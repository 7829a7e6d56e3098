"""The import API over HTTP."""
