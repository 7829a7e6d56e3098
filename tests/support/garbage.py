"""What only the garbage collector frees: it runs so seldom that whatever is part of a cycle stays for long."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_types(*, under: str = "services.") -> Iterator[Counter[str]]:
    """Count the objects of our types that are part of garbage when the context ends, by their types."""
    found = Counter[str]()
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        found.update(name for name in names if name.startswith(under))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()
