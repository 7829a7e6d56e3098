"""Reads the fields of one JSON object by a plan, and collects their faults."""

from collections.abc import Callable
from typing import Any, NamedTuple

from services.jobs.events import Fault
from services.sales.batch import ImportContext
from services.sales.faults import invalid_value, missing_field
from services.sales.field_types import RuleContext
from services.sales.fields import Field
from services.values.invalid import Invalid

ReadField = Callable[["ObjectReader", Field], Any]
_Step = tuple[Field, Callable[[object, RuleContext], Any], ReadField | None]


class Plan(NamedTuple):
    """What is read of an object, in order."""

    attributes: list[str]
    steps: list[_Step]


class ObjectReader:
    """Reads the fields of one JSON object, whose JSON pointer is `at`.

    Null counts as absent; so does an empty string in an optional field, since exporters write it.

    `faults` collects what is wrong, in the order in which fields are read. An invalid value is returned as None.
    """

    def __init__(self, values: dict[str, Any], context: ImportContext, *, faults: list[Fault], at: str = "") -> None:
        self.context = context
        self.faults = faults
        self._values = values
        self._at = at
        self._rules = context.rules

    def read_by_attribute(self, plan: Plan) -> dict[str, Any]:
        """Return the canonical values of all fields of a plan, by attribute."""
        return dict(zip(plan.attributes, self.read_all(plan), strict=True))

    def read_all(self, plan: Plan) -> list[Any]:
        """Return the canonical values of all fields of a plan, in its order."""
        values, rules = self._values, self._rules
        canonical = []
        for field, read_value, read_specially in plan.steps:
            if read_specially is not None:
                canonical.append(read_specially(self, field))
                continue
            value = values.get(field.name)
            if value is not None and (value != "" or field.is_required):
                value = read_value(value, rules)
                if type(value) is Invalid:
                    self._add_invalid(field.name, value)
                    value = None
            else:
                value = None
                if field.is_required:
                    self._add_missing(field.name)
            canonical.append(value)
        return canonical

    def read(self, field: Field, name: str | None = None) -> Any:
        """Return the canonical value of a field that was sent under `name`, by default its own."""
        name = name or field.name
        value = self._values.get(name)
        if value is None or (value == "" and not field.is_required):
            return None
        canonical = field.type.read(value, self._rules)
        if isinstance(canonical, Invalid):
            self._add_invalid(name, canonical)
            return None
        return canonical

    def read_required(self, field: Field) -> Any:
        """Return the canonical value of a required field."""
        if self._values.get(field.name) is None:
            self._add_missing(field.name)
        return self.read(field)

    def pointer(self, name: str) -> str:
        """Return the JSON pointer of a field of this object."""
        return f"{self._at}/{name}"

    def _add_invalid(self, name: str, invalid: Invalid) -> None:
        self.faults.append(invalid_value(self.pointer(name), invalid))

    def _add_missing(self, name: str) -> None:
        self.faults.append(missing_field(self.pointer(name)))
