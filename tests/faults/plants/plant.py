"""What a planted bug is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


class StalePlantError(Exception):
    """The text that a plant replaces is not in its file exactly once."""


@dataclass(frozen=True)
class Edit:
    """Replaces a text that stands in the file exactly once."""

    path: str
    old: str
    new: str

    def apply(self, root: Path) -> str:
        """Apply it and return what the file was; raises `StalePlantError`."""
        file = root / self.path
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before.count(self.old) != 1:
            raise StalePlantError(f"{self.path} has {before.count(self.old)} times: {self.old}")
        file.write_text(before.replace(self.old, self.new), encoding="utf-8")
        return before


@dataclass(frozen=True)
class Simulation:
    """Seen by the simulation: by one of the named invariants, within this number of stories of the profile."""

    profile: str
    invariants: Sequence[str]
    seeds: int = 60

    @property
    def arguments(self) -> list[str]:
        """The command's arguments, after the interpreter."""
        wanted = f"--invariants={','.join(self.invariants)}"
        command = ["-m", "tests.simulation", f"--profile={self.profile}", f"--seeds={self.seeds}"]
        return [*command, wanted, "--max-failures=1"]


@dataclass(frozen=True)
class Pytest:
    """Seen by tests of pytest."""

    targets: Sequence[str]

    @property
    def arguments(self) -> list[str]:
        """The command's arguments, after the interpreter."""
        return ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *self.targets]


@dataclass(frozen=True)
class Plant:
    """A planted bug."""

    name: str
    invariant: str
    suite: Simulation | Pytest
    edits: Sequence[Edit]
