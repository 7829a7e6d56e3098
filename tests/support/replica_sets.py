"""Replica sets whose primary is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.mongo import ReplicaSet


@contextmanager
def suspended_secondaries(replica_set: ReplicaSet) -> Iterator[None]:
    """Suspend all members but the primary: it takes writes, but no majority acknowledges them."""
    primary = replica_set.primary()
    others = [member for member in replica_set.members if member is not primary]
    assert len(others) == 2
    for member in others:
        member.suspend()
    try:
        yield
    finally:
        for member in others:
            member.resume()
