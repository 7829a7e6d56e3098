"""`python -m services.validator`."""

from services.chassis.runtime import lifecycle
from services.chassis.runtime.settings import load
from services.validator.app import build
from services.validator.settings import Settings

if __name__ == "__main__":
    settings = load(Settings)
    lifecycle.run("validator", settings, lambda: build(settings))
