"""What an operator does with a running installation: topics, catalogue, generated documents."""
