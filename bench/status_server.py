"""A replica of status without Kafka, for `bench.status`: the API over the store, woken by changes in the database.

`python -m bench.status_server PORT CORE`; settings of MongoDB come from the environment.
"""
