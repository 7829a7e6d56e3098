"""Sends every example of the documents through the gateway and compares the results with the documents."""

from sandbox.console import Console
from sandbox.demo.codes import show_codes
from sandbox.demo.imports import show_imports
from sandbox.demo.sales import show_sales

__all__ = ["show_demo"]


async def show_demo(base: str, console: Console) -> bool:
    """Run the demo against a base URL and print the results; return whether all are as documented."""
    imports_are_right = await show_imports(base, console)
    codes_are_right = await show_codes(base, console)
    return await show_sales(base, console) and codes_are_right and imports_are_right
