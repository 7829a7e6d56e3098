"""Reads the fields of one JSON object and keeps what is wrong with them, in the order in which they are asked for."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from services.jobs.events import Fault
from services.sales.faults import invalid_value, missing_field
from services.values.invalid import Invalid, InvalidKind

T = TypeVar("T")
Reader = Callable[[object], T | Invalid]

_NO_OBJECT = Invalid(InvalidKind.TYPE, "must be an object")


class ObjectReader:
    """One object on its way to canonical values; `at` is its JSON pointer. Null is absent.

    `faults` grows with everything that is found to be wrong.
    """

    def __init__(self, values: dict[str, Any], *, at: str = "", faults: list[Fault]) -> None:
        self._values = values
        self._at = at
        self.faults = faults

    def optional(self, name: str, read: Reader[T]) -> T | None:
        """The field's canonical value; None if it is absent, or wrong, which is noted."""
        value = self._values.get(name)
        if value is None:
            return None
        got = read(value)
        if isinstance(got, Invalid):
            self.add_fault(invalid_value(self.pointer(name), got))
            return None
        return got

    def required(self, name: str, read: Reader[T]) -> T | None:
        """Like `optional`, and notes absence as well."""
        if self._values.get(name) is None:
            self.add_fault(missing_field(self.pointer(name)))
        return self.optional(name, read)

    def required_objects(self, name: str, read: Reader[list[Any]]) -> Iterator["ObjectReader"]:
        """A form for each object of an array; what is no object is noted and left out."""
        for position, item in enumerate(self.required(name, read) or ()):
            at = f"{self.pointer(name)}/{position}"
            if isinstance(item, dict):
                yield ObjectReader(item, at=at, faults=self.faults)
            else:
                self.add_fault(invalid_value(at, _NO_OBJECT))

    def add_fault(self, fault: Fault) -> None:
        """Note a fault that is not one field's alone."""
        self.faults.append(fault)

    def pointer(self, name: str) -> str:
        """The JSON pointer of a field of this object."""
        return f"{self._at}/{name}"
