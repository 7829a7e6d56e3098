"""How clients of Kafka connect: addresses, TLS and credentials."""

from typing import Any

from aiokafka.helpers import create_ssl_context

from services.chassis.runtime.settings import KafkaSettings


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the connection options of all aiokafka clients."""
    uses_tls = settings.kafka_security_protocol in ("SSL", "SASL_SSL")
    password = settings.kafka_sasl_password
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": create_ssl_context(
            cafile=settings.kafka_ssl_cafile, certfile=settings.kafka_ssl_certfile, keyfile=settings.kafka_ssl_keyfile
        )
        if uses_tls
        else None,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
    }
