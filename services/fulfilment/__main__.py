"""`python -m services.fulfilment`."""

from services.chassis.runtime import lifecycle
from services.chassis.runtime.settings import load
from services.fulfilment.app import build
from services.fulfilment.settings import Settings

if __name__ == "__main__":
    settings = load(Settings)
    lifecycle.run("fulfilment", settings, lambda: build(settings))
