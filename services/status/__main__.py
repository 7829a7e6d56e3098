"""`python -m services.status`."""

from services.chassis.runtime import lifecycle
from services.chassis.runtime.settings import load
from services.status.app import build
from services.status.settings import Settings

if __name__ == "__main__":
    settings = load(Settings)
    lifecycle.run("status", settings, lambda: build(settings))
