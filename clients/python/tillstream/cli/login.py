"""`tillstream login`."""

import os

import click

from tillstream._sync.client import Client
from tillstream.cli.context import MAX_WAIT_S, reports_errors
from tillstream.http import RetryPolicy
from tillstream.profiles import DEFAULT, Profile, check_address, save_profile


@click.command()
@click.option("--keyring", "in_keyring", is_flag=True, help="Keep the secret in the keyring of the operating system.")
@click.option("--no-check", is_flag=True, help="Store the credentials without trying them.")
@click.pass_context
@reports_errors
def login(context: click.Context, *, in_keyring: bool, no_check: bool) -> None:
    """Store credentials in a file that only you can read, after trying them.

    Asks for what the variables TILLSTREAM_BASE_URL, TILLSTREAM_CLIENT_ID, TILLSTREAM_CLIENT_SECRET and
    TILLSTREAM_API_KEY do not give. Secrets are never arguments: others could see those.

    \b
    tillstream login
    tillstream --profile test login
    """  # noqa: D301 - click's mark
    name = context.obj or os.environ.get("TILLSTREAM_PROFILE") or DEFAULT
    profile = Profile(
        base_url=_ask("Address", "TILLSTREAM_BASE_URL").rstrip("/"),
        client_id=_ask("Client id", "TILLSTREAM_CLIENT_ID"),
        client_secret=_ask("Client secret", "TILLSTREAM_CLIENT_SECRET", hide=True),
        api_key=_ask("API key", "TILLSTREAM_API_KEY"),
    )
    check_address(profile.base_url)
    if not no_check:
        credentials = profile.base_url, profile.client_id, profile.client_secret, profile.api_key
        with Client(*credentials, retry=RetryPolicy(max_wait_s=MAX_WAIT_S)) as client:
            limits = client.imports.limits()
        click.echo(f"logged in; up to {limits.records_per_second} records per second", err=True)
    path = save_profile(name, profile, in_keyring=in_keyring)
    click.echo(f"profile {name!r} is stored in {path}", err=True)


def _ask(label: str, variable: str, *, hide: bool = False) -> str:
    given = os.environ.get(variable)
    return given or str(click.prompt(label, hide_input=hide, err=True)).strip()
