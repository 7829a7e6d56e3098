"""Sends every example of the documents through the gateway and compares the results with the documents."""

from sandbox.console import Console
from sandbox.demo.codes import show_codes
from sandbox.demo.imports import show_imports

__all__ = ["show_demo"]


async def show_demo(base: str, console: Console) -> bool:
    """Run the demo against a base URL and print the results; return whether all are as documented."""
    imports_are_right = await show_imports(base, console)
    return await show_codes(base, console) and imports_are_right
