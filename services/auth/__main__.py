"""`python -m services.auth`: settings → app → run."""

from functools import partial

from services.auth.app import build
from services.auth.settings import AuthSettings
from services.chassis.runtime.lifecycle import run
from services.chassis.runtime.settings import load


def main() -> None:
    """Run auth until it is stopped."""
    settings = load(AuthSettings)
    run("auth", settings, partial(build, settings))


if __name__ == "__main__":
    main()
