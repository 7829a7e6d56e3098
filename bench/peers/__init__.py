"""Other ways to do the work of ingest and of the validator, run beside them by `bench.stages`.

Each is written as its framework's documentation suggests, is tuned where a setting does that, and says what it leaves
out. They have an environment of their own (`bench.peers.install`), and import nothing of the services.
"""
