"""`tillstream completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    tillstream completion bash > ~/.local/share/bash-completion/completions/tillstream
    tillstream completion zsh > "${fpath[1]}/_tillstream"
    tillstream completion fish > ~/.config/fish/completions/tillstream.fish
    """  # noqa: D301 - click's mark
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(made(context.find_root().command, {}, "tillstream", "_TILLSTREAM_COMPLETE").source())
