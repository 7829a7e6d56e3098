"""Credentials of the command line: from the environment, from a file that only its owner can read, or a keyring."""

import os
import stat
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tillstream.errors import TillstreamError

ENV_PREFIX = "TILLSTREAM_"
DEFAULT = "default"
KEYRING_SERVICE = "tillstream"
_FIELDS = ("base_url", "client_id", "client_secret", "api_key")


class ProfileError(TillstreamError):
    """The credentials are incomplete or not safe."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where to connect to, and as whom."""

    base_url: str
    client_id: str
    client_secret: str = field(repr=False)
    api_key: str


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file of the profiles."""
    return _directory(environment, "TILLSTREAM_CONFIG_DIR", "XDG_CONFIG_HOME", ".config") / "credentials.toml"


def state_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where imports keep their manifests."""
    return _directory(environment, "TILLSTREAM_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _directory(environment: Mapping[str, str], own: str, xdg: str, fallback: str) -> Path:
    if environment.get(own):
        return Path(environment[own])
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA", Path.home())) / "tillstream"
    return Path(environment.get(xdg) or Path.home() / fallback) / "tillstream"


def load_profile(name: str | None, environment: Mapping[str, str] = os.environ) -> Profile:
    """Return the profile: variables of the environment first, then the file, then the keyring for the secret."""
    name = name or environment.get("TILLSTREAM_PROFILE") or DEFAULT
    values = _read(config_path(environment)).get(name, {})
    values |= {key: value for key in _FIELDS if (value := environment.get(ENV_PREFIX + key.upper()))}
    if "client_secret" not in values and (secret := _from_keyring(name)):
        values["client_secret"] = secret
    missing = [key for key in _FIELDS if not values.get(key)]
    if missing:
        variables = ", ".join(ENV_PREFIX + key.upper() for key in missing)
        raise ProfileError(f"profile {name!r} lacks {', '.join(missing)}: run `tillstream login`, or set {variables}")
    check_address(values["base_url"])
    return Profile(**{key: values[key] for key in _FIELDS})


def check_address(url: str) -> None:
    """Raise `ProfileError` unless it is the address of a web server."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ProfileError(f"the address {url!r} is not one like https://tillstream.example; run `tillstream login`")


def save_profile(name: str, profile: Profile, *, in_keyring: bool = False) -> Path:
    """Store a profile, readable by its owner only; return the file."""
    path = config_path()
    profiles = _read(path)
    values = {key: getattr(profile, key) for key in _FIELDS}
    if in_keyring:
        _to_keyring(name, values.pop("client_secret"))
    profiles[name] = values
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        for profile_name, fields in profiles.items():
            file.write(f"[{_quoted(profile_name)}]\n")
            file.writelines(f"{key} = {_quoted(value)}\n" for key, value in fields.items())
    temporary.replace(path)
    return path


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if sys.platform != "win32" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ProfileError(f"{path} can be read by others; run: chmod 600 {path}")
            return {name: dict(fields) for name, fields in tomllib.load(file).items()}
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise ProfileError(f"{path} is not valid: {error}") from None


def _quoted(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(character):04x}" if ord(character) < 32 or character in '"\\\x7f' else character for character in text
    )
    return f'"{escaped}"'


def _from_keyring(name: str) -> str | None:
    try:
        import keyring  # noqa: PLC0415 - an extra that need not be installed
    except ImportError:
        return None
    try:
        secret: str | None = keyring.get_password(KEYRING_SERVICE, name)
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own
        raise ProfileError(f"the keyring cannot be read: {error}") from None
    return secret


def _to_keyring(name: str, secret: str) -> None:
    try:
        import keyring  # noqa: PLC0415 - an extra that need not be installed
    except ImportError:
        raise ProfileError("no keyring: pip install 'tillstream-client[keyring]'") from None
    try:
        keyring.set_password(KEYRING_SERVICE, name, secret)
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own
        raise ProfileError(f"the keyring cannot store the secret: {error}; run it without --keyring") from None
