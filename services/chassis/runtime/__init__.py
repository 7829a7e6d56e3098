"""A process: settings, logs, metrics, health, errors, background tasks, lifecycle."""
