"""Build commands: `python -m tools COMMAND`."""

import typer

from services.chassis.runtime.settings import REPOSITORY
from services.topics import TOPICS
from tools import generate_docs, prose
from tools.topic_graph import render_mermaid

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Generated documents and manifests; the prose check."
)


@app.command("write-docs")
def write_docs() -> None:
    """Write the generated documents that are out of date."""
    for path in generate_docs.write():
        typer.echo(f"written: {path.relative_to(REPOSITORY)}")


@app.command("check-docs")
def check_docs() -> None:
    """Fail if a generated document is out of date."""
    stale = generate_docs.find_stale()
    for path in stale:
        typer.echo(f"out of date: {path.relative_to(REPOSITORY)} (run 'make docs')", err=True)
    if stale:
        raise typer.Exit(1)


@app.command("check-prose")
def check_prose() -> None:
    """Fail on words and names that the style guide rules out."""
    findings = prose.check()
    for finding in findings:
        typer.echo(finding, err=True)
    if findings:
        raise typer.Exit(1)


@app.command("topic-graph")
def topic_graph() -> None:
    """Print which service writes and reads which topic, as a Mermaid graph."""
    typer.echo(render_mermaid(TOPICS), nl=False)


if __name__ == "__main__":
    app()
