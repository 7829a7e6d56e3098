"""What the portal knows, without I/O."""
