"""Every example of the documents, sent through the front door and followed to its end."""

from sandbox.demo.codes import show_codes
from sandbox.demo.story import show_demo as show_imports
from sandbox.screen import Screen

__all__ = ["show_demo"]


async def show_demo(base: str, screen: Screen) -> bool:
    """Run the demo against a front door and show what came of it; whether all was as the documents have it."""
    imports_are_right = await show_imports(base, screen)
    return await show_codes(base, screen) and imports_are_right
