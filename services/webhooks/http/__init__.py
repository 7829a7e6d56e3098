"""The API of the event feed and of endpoints."""
