"""What the portal's flows need, on MongoDB and over HTTP."""
