"""Real services, Kafka and MongoDB behind fault proxies, and what clients and the checker need to reach them."""
