"""`python -m services.ledger`."""

from services.chassis.runtime.signals import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports below, which take a second

    from services.chassis.runtime import lifecycle
    from services.chassis.runtime.settings import load
    from services.ledger.app import build
    from services.ledger.settings import Settings

    settings = load(Settings)
    lifecycle.run("ledger", settings, lambda: build(settings))
