"""All Kafka topics with their schema registry subjects; topic creation, docs and access rules are derived from them."""

from services.chassis.avro.compatibility import CompatibilityLevel
from services.chassis.kafka.topic import Cleanup, Topic

EXTERNAL_PRODUCERS = "external producers"
CATALOGUE_OWNERS = "catalogue owners"
OTHER_TEAMS = "other teams"
OPERATOR = "operator"
# Services with a consumer group, which has the service's name.
CONSUMER_GROUPS = ("validator", "status", "fulfilment", "ledger", "webhooks")

MIB = 1024 * 1024
# The largest valid request (100 records of 500 lines with long ids) must fit into one batch.
MAX_MESSAGE_BYTES = 8 * MIB
# After that, no topic has a record that names a user who is erased now: the receipt of the erasure promises so.
ERASURE_DAYS = 28

ORDERS_SUBMITTED = Topic(
    name="orders.submitted.v1",
    key=("site", "channel", "id"),
    schema="order",
    written_by=("ingest", EXTERNAL_PRODUCERS),
    read_by=("validator",),
    max_message_bytes=MAX_MESSAGE_BYTES,
    description="Orders that ingest accepted; a request is one record batch.",
)
RETURNS_SUBMITTED = Topic(
    name="returns.submitted.v1",
    key=("site", "channel", "orderId"),
    schema="return",
    written_by=("ingest", EXTERNAL_PRODUCERS),
    read_by=("validator",),
    max_message_bytes=MAX_MESSAGE_BYTES,
    description="Returns that ingest accepted; a request is one record batch.",
)
ORDERS_VALIDATED = Topic(
    name="orders.validated.v1",
    key=("site", "channel", "id"),
    schema="order",
    written_by=("validator",),
    read_by=("ledger", OTHER_TEAMS),
    retention_days=ERASURE_DAYS,
    deletes_in_time=True,
    max_message_bytes=MAX_MESSAGE_BYTES,
    description="Valid orders: the submitted bytes, unchanged.",
)
RETURNS_VALIDATED = Topic(
    name="returns.validated.v1",
    key=("site", "channel", "orderId"),
    schema="return",
    written_by=("validator",),
    read_by=("ledger", OTHER_TEAMS),
    retention_days=ERASURE_DAYS,
    deletes_in_time=True,
    max_message_bytes=MAX_MESSAGE_BYTES,
    description="Valid returns: the submitted bytes, unchanged.",
)
RECORDS_REJECTED = Topic(
    name="records.rejected.v1",
    key=("site", "channel", "id"),
    schema="record_rejected",
    written_by=("validator",),
    read_by=(EXTERNAL_PRODUCERS, OTHER_TEAMS),
    retention_days=30,
    description="Invalid records, with their faults.",
)
JOBS_EVENTS = Topic(
    name="jobs.events.v1",
    key=("site", "jobId"),
    schema="job_event",
    written_by=("ingest", "validator", "status"),
    read_by=("status",),
    max_message_bytes=MAX_MESSAGE_BYTES,
    description="Events of import jobs: opened, judged, expired.",
)
JOBS_FINISHED = Topic(
    name="jobs.finished.v1",
    key=("site", "jobId"),
    schema="job_finished",
    written_by=("status",),
    read_by=("webhooks", OTHER_TEAMS),
    retention_days=30,
    description="Import jobs that have ended, with their counts.",
)
CATALOG_PRODUCTS = Topic(
    name="catalog.products.v1",
    key=("site", "productId"),
    schema="product",
    written_by=(CATALOGUE_OWNERS, OPERATOR),
    read_by=("validator",),
    cleanup=Cleanup.COMPACT,
    retention_days=None,
    description="Products by site; a tombstone withdraws one.",
)
AUTH_SITES = Topic(
    name="auth.sites.v1",
    key=("site",),
    schema="site",
    written_by=("auth", OPERATOR),
    read_by=("auth", "ingest", "status", "fulfilment", "ledger", "webhooks", OPERATOR),
    cleanup=Cleanup.COMPACT,
    retention_days=None,
    partitions=1,
    description="Configuration of each site.",
)
AUTH_REVOCATIONS = Topic(
    name="auth.revocations.v1",
    key=("client or token",),
    schema="revocation",
    written_by=("auth", OPERATOR),
    read_by=("auth", "ingest", "status", "fulfilment", "ledger", "webhooks", OPERATOR),
    cleanup=Cleanup.COMPACT_DELETE,
    retention_days=2,
    partitions=1,
    description="Tokens that are revoked before they expire.",
)
FULFILMENT_TRANSACTIONS = Topic(
    name="fulfilment.transactions.v1",
    key=("transactionId",),
    schema="fulfilment_transaction",
    written_by=("fulfilment",),
    read_by=("fulfilment", OTHER_TEAMS),
    retention_days=30,
    description="Placed orders of codes.",
)
FULFILMENT_CODES = Topic(
    name="fulfilment.codes.v1",
    key=("transactionId",),
    schema="fulfilment_codes",
    written_by=("fulfilment",),
    read_by=("webhooks", OTHER_TEAMS),
    retention_days=30,
    description="How many units of a transaction have codes; contains no code.",
)
FULFILMENT_INVOICES = Topic(
    name="fulfilment.invoices.v1",
    key=("purchaseOrderId",),
    schema="fulfilment_invoice",
    written_by=("fulfilment",),
    read_by=("webhooks", OTHER_TEAMS),
    retention_days=None,
    description="Issued invoices and credit notes.",
)
LEDGER_MOVEMENTS = Topic(
    name="ledger.movements.v1",
    key=("site", "channel"),
    schema="ledger_movement",
    written_by=("ledger",),
    read_by=(OTHER_TEAMS,),
    retention_days=30,
    description="Signed changes of the sums of sales; contains nothing about persons.",
)


def dead_letter_topic(topic: Topic, worker: str) -> Topic:
    """Return the dead-letter topic for records of `topic` that `worker` cannot process."""
    names_users = topic.schema in {"order", "return", "job_event"}
    return Topic(
        name=f"{topic.name}.dlq",
        key=("original key",),
        schema=None,
        written_by=(worker,),
        read_by=(OPERATOR,),
        retention_days=ERASURE_DAYS if names_users else 30,
        deletes_in_time=names_users,
        max_message_bytes=topic.max_message_bytes + MIB,
        description=f"Records of {topic.name} that could not be processed, unchanged.",
    )


TOPICS: tuple[Topic, ...] = (
    ORDERS_SUBMITTED,
    RETURNS_SUBMITTED,
    ORDERS_VALIDATED,
    RETURNS_VALIDATED,
    RECORDS_REJECTED,
    JOBS_EVENTS,
    JOBS_FINISHED,
    CATALOG_PRODUCTS,
    AUTH_SITES,
    AUTH_REVOCATIONS,
    FULFILMENT_TRANSACTIONS,
    FULFILMENT_CODES,
    FULFILMENT_INVOICES,
    LEDGER_MOVEMENTS,
    dead_letter_topic(ORDERS_SUBMITTED, "validator"),
    dead_letter_topic(RETURNS_SUBMITTED, "validator"),
    dead_letter_topic(ORDERS_VALIDATED, "ledger"),
    dead_letter_topic(RETURNS_VALIDATED, "ledger"),
    dead_letter_topic(JOBS_EVENTS, "status"),
    dead_letter_topic(FULFILMENT_TRANSACTIONS, "fulfilment"),
    dead_letter_topic(JOBS_FINISHED, "webhooks"),
    dead_letter_topic(FULFILMENT_CODES, "webhooks"),
    dead_letter_topic(FULFILMENT_INVOICES, "webhooks"),
)
BY_NAME = {topic.name: topic for topic in TOPICS}

# Schema registry subjects of the topics' values, named by Confluent's TopicNameStrategy.
SCHEMA_BY_SUBJECT = {f"{topic.name}-value": topic.schema for topic in TOPICS if topic.schema is not None}
SUBJECTS_BY_SCHEMA = {
    schema: tuple(subject for subject, other in SCHEMA_BY_SUBJECT.items() if other == schema)
    for schema in SCHEMA_BY_SUBJECT.values()
}


def compatibility_level(schema: str) -> CompatibilityLevel:
    """Return how versions of a schema must be compatible.

    A schema that only other systems write must stay readable for this one (backward). All others, including orders and
    returns, which the validator publishes again, also have readers that cannot be updated at the same time (full).
    """
    writers = {writer for topic in TOPICS if topic.schema == schema for writer in topic.written_by}
    is_input = writers <= {EXTERNAL_PRODUCERS, CATALOGUE_OWNERS, OPERATOR}
    return CompatibilityLevel.BACKWARD_TRANSITIVE if is_input else CompatibilityLevel.FULL_TRANSITIVE
