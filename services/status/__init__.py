"""Projects job events into jobs, and serves their status.

Reads:  jobs.events.v1, auth.sites.v1, auth.revocations.v1
Writes: jobs.events.v1, jobs.finished.v1, jobs.events.v1.dlq
Owns:   jobs, chunks (MongoDB)
"""
