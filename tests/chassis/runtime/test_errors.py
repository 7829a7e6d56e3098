"""Errors outside the domain."""

import pytest

from services.chassis.kafka.consumer import PartitionsUnavailableError
from services.chassis.runtime.errors import ContentionError, UnavailableError, copy_error


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("Kafka", retry_after_s=7),
        ContentionError("MongoDB"),
        PartitionsUnavailableError("the registry", [], {}),
    ],
)
def test_a_copy_is_the_same_error_for_another_caller(error: UnavailableError) -> None:
    """What depends on its class, as the words of the response do, must be the same for all callers."""
    copy = copy_error(error)
    assert copy is not error
    assert type(copy) is type(error)
    assert (str(copy), vars(copy), copy.__cause__) == (str(error), vars(error), error)


def test_a_defect_is_not_copied() -> None:
    defect = KeyError("x")
    assert copy_error(defect) is defect
