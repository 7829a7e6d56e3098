"""Looks up schemas by subject and version, by id, and by content."""

from collections.abc import Mapping
from uuid import UUID

from services.chassis.avro.compatibility import InvalidSchemaError, canonical_form
from services.chassis.avro.schemas import Schema, Schemas
from services.topics import SCHEMA_BY_SUBJECT, SUBJECTS_BY_SCHEMA

_LATEST = frozenset({"latest", "-1"})


class RegistryError(Exception):
    """An error response: `status` is HTTP's; `code` and the message are those that Confluent's clients know."""

    def __init__(self, status: int, code: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


class Subjects:
    """The subjects of all topics with a schema. Lookups raise `RegistryError` where they find nothing."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._versions = {
            subject: schemas.versions[name] for subject, name in SCHEMA_BY_SUBJECT.items() if name in schemas
        }
        self._by_canonical_form = {
            name: {canonical_form(version.text): version for version in versions.values()}
            for name, versions in schemas.versions.items()
        }

    def __contains__(self, subject: str) -> bool:
        return subject in self._versions

    def names(self, *, prefix: str) -> list[str]:
        """Return all subjects that start with the prefix, sorted."""
        return sorted(subject for subject in self._versions if subject.startswith(prefix))

    def versions(self, subject: str) -> Mapping[int, Schema]:
        """Return all versions of a subject by number."""
        if subject not in self._versions:
            raise RegistryError(404, 40401, f"Subject '{subject}' not found.")
        return self._versions[subject]

    def version(self, subject: str, number: str) -> Schema:
        """Return one version of a subject; `number` may be `latest` or `-1`."""
        versions = self.versions(subject)
        if number in _LATEST:
            return versions[max(versions)]
        parsed = _parse_number(number)
        if not parsed:
            raise RegistryError(422, 42202, "The specified version is not a valid version id")
        if parsed not in versions:
            raise RegistryError(404, 40402, f"Version {parsed} not found.")
        return versions[parsed]

    def by_id(self, schema_id: str) -> Schema:
        """Return the schema with this id, which a value names in its first bytes."""
        number = _parse_number(schema_id)
        return require_schema(None if number is None else self._schemas.by_id(number))

    def by_guid(self, guid: str) -> Schema:
        """Return the schema with this GUID, which a value names in a header."""
        try:
            reference = UUID(guid)
        except ValueError:
            reference = None
        return require_schema(None if reference is None else self._schemas.by_id(reference))

    def find(self, subject: str, schema: str) -> Schema | None:
        """Return the version of a subject with the same canonical form as this schema; None if there is none."""
        try:
            return self._by_canonical_form[SCHEMA_BY_SUBJECT[subject]].get(canonical_form(schema))
        except InvalidSchemaError as error:
            raise RegistryError(422, 42201, f"Invalid schema: {error}") from None


def require_schema(version: Schema | None) -> Schema:
    """Return the version; raises `RegistryError` if there is none."""
    if version is None:
        raise RegistryError(404, 40403, "Schema not found")
    return version


def subjects_of(version: Schema) -> tuple[str, ...]:
    """Return the subjects that have this version."""
    return SUBJECTS_BY_SCHEMA.get(version.name, ())


def _parse_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
