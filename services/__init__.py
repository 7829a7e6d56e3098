"""The map: auth issues tokens, ingest accepts records, validator judges them, status tells what became of each job.

Fulfilment sells codes. `topics` lists what travels between services; `chassis` is what every service stands on;
`values` and `sales` are pure: small things read from JSON, and the language that ingest and validator share. Each
service has the same rooms.
"""
