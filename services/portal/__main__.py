"""`python -m services.portal`."""

from services.chassis.runtime.signals import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports below, which take a second

    from services.chassis.runtime import lifecycle
    from services.chassis.runtime.settings import load
    from services.portal.app import build
    from services.portal.settings import Settings

    settings = load(Settings)
    lifecycle.run("portal", settings, lambda: build(settings))
