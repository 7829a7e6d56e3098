"""`python -m tests.simulation`: play many seeds, or one of them again, and shrink what fails."""

import os
import sys

# The order of sets depends on the hashes of strings: without a fixed seed no story would replay.
if os.environ.get("PYTHONHASHSEED") != "0":
    os.execve(  # noqa: S606 - this interpreter
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
    )

from tests.simulation.command import main

sys.exit(main())
