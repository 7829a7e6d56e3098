"""The leanest programs that do each stage's bare work, without rules or logs: what the services are held against."""
