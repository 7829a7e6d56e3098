"""`python -m services.auth`."""

from services.chassis.runtime.signals import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports below, which take a second

    from services.auth.app import build
    from services.auth.settings import AuthSettings
    from services.chassis.runtime import lifecycle
    from services.chassis.runtime.settings import load

    settings = load(AuthSettings)
    lifecycle.run("auth", settings, lambda: build(settings))
