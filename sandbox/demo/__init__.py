"""Every example of the order document, sent through the front door and followed to its end."""

from sandbox.demo.story import show_demo

__all__ = ["show_demo"]
