"""Dead letters for operators to look at, and to send back."""

from confluent_kafka import Producer

TOPIC = "orders.submitted.v1"


def send_dead_letters(bootstrap: str, reason: str, count: int, value: bytes) -> None:
    """Write dead letters of a valid order, as the validator would if it could not process them."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        headers = {
            "dlq.reason": reason,
            "dlq.detail": "for a story",
            "dlq.original-topic": TOPIC,
            "dlq.original-partition": "0",
            "dlq.original-offset": str(number),
            "dlq.consumer-group": "validator",
            "dlq.attempts": "1",
        }
        producer.produce(f"{TOPIC}.dlq", value, b"story", headers=list(headers.items()))
        producer.poll(0)
    assert producer.flush(60) == 0
