"""The one way in which reading bytes fails."""


class Undecodable(Exception):  # noqa: N818 - it says what the bytes are
    """Bytes are not a record of the schema. `reason` quotes nothing of them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
