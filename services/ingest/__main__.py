"""`python -m services.ingest`."""

from services.chassis.runtime import lifecycle
from services.chassis.runtime.settings import load
from services.ingest.app import build
from services.ingest.settings import Settings

if __name__ == "__main__":
    settings = load(Settings)
    lifecycle.run("ingest", settings, lambda: build(settings))
