"""Fixtures of several tests."""

import pytest

from tests.validator.fakes import Harness, Journal, a_harness


@pytest.fixture
def journal() -> Journal:
    return []


@pytest.fixture
def harness(journal: Journal) -> Harness:
    return a_harness(journal)
