"""Kafka, MongoDB, a front door and the services, on one machine, without containers.

The parts can be used alone – `sandbox.kafka`, `sandbox.mongo`, `sandbox.front` – by tests and benchmarks;
`python -m sandbox run` puts them together. Nothing here imports the services: they are driven as processes.
"""
