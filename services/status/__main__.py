"""`python -m services.status`."""

from services.chassis import lifecycle
from services.chassis.settings import load
from services.status.app import compose
from services.status.settings import Settings

if __name__ == "__main__":
    settings = load(Settings)
    lifecycle.run("status", settings, lambda: compose(settings))
