"""What became of each job, materialised from its events and told to whoever sent it.

Reads:  jobs.events.v1, auth.sites.v1, auth.revocations.v1
Writes: jobs.events.v1, jobs.events.v1.dlq
Owns:   jobs, chunks (MongoDB)
"""
