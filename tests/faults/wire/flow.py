"""What happens to the bytes of one direction."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Flow:
    """The faults of one direction. Without any, bytes are forwarded as they come."""

    # Each chunk is forwarded this much later.
    delay_s: float = 0.0
    # Bytes are forwarded in pieces of at most this size, with a rest after each.
    piece_bytes: int = 0
    rest_s: float = 0.0
    # Bytes are discarded although the sender believes that they arrived.
    is_dropping: bool = False
    # All connections are reset after this many further bytes.
    cut_after_bytes: int | None = None
    _gate: asyncio.Event = field(default_factory=_open_gate)

    @property
    def is_held(self) -> bool:
        """Whether bytes wait until the fault is healed, as behind a network that sends them again and again."""
        return not self._gate.is_set()

    def hold(self) -> None:
        """Forward nothing until `heal()`."""
        self._gate.clear()

    def heal(self) -> None:
        """End all faults."""
        self.delay_s, self.piece_bytes, self.rest_s = 0.0, 0, 0.0
        self.is_dropping, self.cut_after_bytes = False, None
        self._gate.set()

    async def pieces(self, data: bytes) -> Sequence[bytes]:
        """Return the data in the pieces in which it is forwarded, when it may be."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._gate.wait()
        size = self.piece_bytes or len(data)
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def rest_after_piece(self) -> None:
        """Rest between pieces."""
        if self.rest_s:
            await asyncio.sleep(self.rest_s)

    def is_used_up(self, count: int) -> bool:
        """Count forwarded bytes; whether connections must be cut now. True only once."""
        if self.cut_after_bytes is None:
            return False
        self.cut_after_bytes -= count
        if self.cut_after_bytes > 0:
            return False
        self.cut_after_bytes = None
        return True
