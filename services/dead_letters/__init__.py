"""Dead letters as they are stored: found, read and replayed, by the command line and by the operator's API."""
