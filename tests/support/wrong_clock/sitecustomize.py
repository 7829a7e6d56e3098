"""Sets the clock of a process wrong by `CLOCK_OFFSET_S` seconds; Python imports this module if it is on its path."""

import os
import time

OFFSET_S = float(os.environ.get("CLOCK_OFFSET_S", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + OFFSET_S
time.time_ns = lambda: _time_ns() + int(OFFSET_S * 1_000_000_000)
