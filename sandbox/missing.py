"""What the sandbox cannot do without."""


class Missing(Exception):  # noqa: N818 - says what happened
    """A program was not found or could not be prepared; the message says what to do."""
