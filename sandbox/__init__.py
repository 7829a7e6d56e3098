"""Kafka, MongoDB, the gateway and the services on one machine, without containers.

Tests and benchmarks use `sandbox.kafka`, `sandbox.mongo` and `sandbox.gateway` alone; `python -m sandbox run` starts
everything. Nothing here imports the services: they run as processes.
"""
