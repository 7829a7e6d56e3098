"""Paths of the checkout that the sandbox uses, and its own directories."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMAS = REPOSITORY / "schemas"
CADDYFILE = REPOSITORY / "deploy" / "gateway" / "Caddyfile"
CLIENT = REPOSITORY / "clients" / "python"
DEMO = Path(__file__).resolve().parent / "demo"
KAFKA_LOCK = Path(__file__).resolve().parent / "kafka.lock.toml"


def cache() -> Path:
    """Files that are downloaded or built once and shared by all sandboxes of this checkout (`SANDBOX_CACHE`)."""
    return Path(os.environ.get("SANDBOX_CACHE") or REPOSITORY / ".cache" / "sandbox").absolute()


def home() -> Path:
    """The directory of one sandbox (`SANDBOX_DIR`, default `.sandbox` in the checkout)."""
    return Path(os.environ.get("SANDBOX_DIR") or REPOSITORY / ".sandbox").absolute()
