"""The language that ingest and validator share: Order, Return, rules, fault codes, JSON in, Avro out. Pure.

`reading` turns a request's body into records and refusals, `rules` judges a record however it came, `codec` puts it
on the wire and takes it off, `jobs` tells what became of it.
"""
