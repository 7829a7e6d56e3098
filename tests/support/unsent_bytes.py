"""How many bytes of responses count as unsent."""

from collections import Counter

from services.chassis.http.page_limits import PageLimits


class UnsentBytes(Counter[str]):
    """Replaces the counter of `PageLimits`, and remembers the highest count of any client."""

    highest = 0

    def __setitem__(self, client_id: str, count: int) -> None:
        super().__setitem__(client_id, count)
        self.highest = max(self.highest, count)

    @classmethod
    def of(cls, limits: PageLimits) -> "UnsentBytes":
        """Count the unsent bytes of these limits."""
        limits._unsent = counter = cls()
        return counter
