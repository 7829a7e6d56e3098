"""What operators see and do without Kafka's tools: topics and their lag, dead letters, replays, the audit trail.

Reads:  auth.sites.v1, auth.revocations.v1
Writes: nothing but records and markers of dead letters, as `python -m services dead-letters` does
Owns:   operator_replays, operator_leases, operator_audit (MongoDB)
"""
