"""Base of the models."""

from msgspec import Struct


class Model(Struct, frozen=True, rename="camel"):
    """Base of all models: immutable, with the API's names in camel case."""
