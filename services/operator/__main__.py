"""`python -m services.operator`."""

from services.chassis.runtime.signals import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports below, which take a second

    from services.chassis.runtime import lifecycle
    from services.chassis.runtime.settings import load
    from services.operator.app import build
    from services.operator.settings import Settings

    settings = load(Settings)
    lifecycle.run("operator", settings, lambda: build(settings))
