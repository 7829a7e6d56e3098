"""The asynchronous client. The synchronous one, `_sync`, is generated from it by `generate_sync.py`."""
