"""What ingest does: accepts import requests."""
