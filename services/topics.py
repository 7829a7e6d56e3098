"""Every topic, once: the source for creation, documentation and access rules."""

from services.chassis.kafka.topic import Cleanup, Topic

OUTSIDE = "outside producers"
CATALOGUE_OWNERS = "catalogue owners"
OTHER_TEAMS = "other teams"
OPERATOR = "operator"

MIB = 1024 * 1024
# The largest legal request (100 records of 500 lines with long ids) must fit into one message.
LARGE = 8 * MIB

ORDERS_SUBMITTED = Topic(
    name="orders.submitted.v1",
    key=("site", "channel", "id"),
    schema="order",
    written_by=("ingest", OUTSIDE),
    read_by=("validator",),
    max_message_bytes=LARGE,
    description="Orders that passed intake, one request in one record batch.",
)
RETURNS_SUBMITTED = Topic(
    name="returns.submitted.v1",
    key=("site", "channel", "orderId"),
    schema="return",
    written_by=("ingest", OUTSIDE),
    read_by=("validator",),
    max_message_bytes=LARGE,
    description="Returns that passed intake, one request in one record batch.",
)
ORDERS_VALIDATED = Topic(
    name="orders.validated.v1",
    key=("site", "channel", "id"),
    schema="order",
    written_by=("validator",),
    read_by=(OTHER_TEAMS,),
    retention_days=30,
    max_message_bytes=LARGE,
    description="Orders that were accepted: the submitted bytes, unchanged.",
)
RETURNS_VALIDATED = Topic(
    name="returns.validated.v1",
    key=("site", "channel", "orderId"),
    schema="return",
    written_by=("validator",),
    read_by=(OTHER_TEAMS,),
    retention_days=30,
    max_message_bytes=LARGE,
    description="Returns that were accepted: the submitted bytes, unchanged.",
)
RECORDS_REJECTED = Topic(
    name="records.rejected.v1",
    key=("site", "channel", "id"),
    schema="record_rejected",
    written_by=("validator",),
    read_by=(OUTSIDE, OTHER_TEAMS),
    retention_days=30,
    description="Records that were judged and refused, with their faults.",
)
JOBS_EVENTS = Topic(
    name="jobs.events.v1",
    key=("site", "jobId"),
    schema="job_event",
    written_by=("ingest", "validator", "status"),
    read_by=("status",),
    max_message_bytes=LARGE,
    description="What happened to import jobs: opened, judged, expired.",
)
CATALOG_PRODUCTS = Topic(
    name="catalog.products.v1",
    key=("site", "productId"),
    schema="product",
    written_by=(CATALOGUE_OWNERS, OPERATOR),
    read_by=("validator",),
    cleanup=Cleanup.COMPACT,
    retention_days=None,
    description="Products by site; a record without value withdraws one.",
)
AUTH_SITES = Topic(
    name="auth.sites.v1",
    key=("site",),
    schema="site",
    written_by=("auth", OPERATOR),
    read_by=("auth", "ingest", "status", "fulfilment"),
    cleanup=Cleanup.COMPACT,
    retention_days=None,
    partitions=1,
    description="Configuration of every site.",
)
AUTH_REVOCATIONS = Topic(
    name="auth.revocations.v1",
    key=("client or token",),
    schema="revocation",
    written_by=("auth", OPERATOR),
    read_by=("auth", "ingest", "status", "fulfilment"),
    cleanup=Cleanup.COMPACT_DELETE,
    retention_days=2,
    partitions=1,
    description="Tokens that must be refused before they expire.",
)
FULFILMENT_TRANSACTIONS = Topic(
    name="fulfilment.transactions.v1",
    key=("transactionId",),
    schema="fulfilment_transaction",
    written_by=("fulfilment",),
    read_by=("fulfilment", OTHER_TEAMS),
    retention_days=30,
    description="Orders of codes that were placed.",
)
FULFILMENT_CODES = Topic(
    name="fulfilment.codes.v1",
    key=("transactionId",),
    schema="fulfilment_codes",
    written_by=("fulfilment",),
    read_by=(OTHER_TEAMS,),
    retention_days=30,
    description="How many units of a transaction have their codes; no code is in it.",
)
FULFILMENT_INVOICES = Topic(
    name="fulfilment.invoices.v1",
    key=("purchaseOrderId",),
    schema="fulfilment_invoice",
    written_by=("fulfilment",),
    read_by=(OTHER_TEAMS,),
    retention_days=None,
    description="Invoices and credit notes that were issued.",
)


def dead_letters(topic: Topic, worker: str) -> Topic:
    """The topic for records of `topic` that `worker` gave up."""
    return Topic(
        name=f"{topic.name}.dlq",
        key=("original key",),
        schema=None,
        written_by=(worker,),
        read_by=(OPERATOR,),
        retention_days=30,
        max_message_bytes=topic.max_message_bytes + MIB,
        description=f"Records of {topic.name} that could not be processed, as they were.",
    )


ORDERS_SUBMITTED_DLQ = dead_letters(ORDERS_SUBMITTED, "validator")
RETURNS_SUBMITTED_DLQ = dead_letters(RETURNS_SUBMITTED, "validator")
JOBS_EVENTS_DLQ = dead_letters(JOBS_EVENTS, "status")
FULFILMENT_TRANSACTIONS_DLQ = dead_letters(FULFILMENT_TRANSACTIONS, "fulfilment")

TOPICS: tuple[Topic, ...] = (
    ORDERS_SUBMITTED,
    RETURNS_SUBMITTED,
    ORDERS_VALIDATED,
    RETURNS_VALIDATED,
    RECORDS_REJECTED,
    JOBS_EVENTS,
    CATALOG_PRODUCTS,
    AUTH_SITES,
    AUTH_REVOCATIONS,
    FULFILMENT_TRANSACTIONS,
    FULFILMENT_CODES,
    FULFILMENT_INVOICES,
    ORDERS_SUBMITTED_DLQ,
    RETURNS_SUBMITTED_DLQ,
    JOBS_EVENTS_DLQ,
    FULFILMENT_TRANSACTIONS_DLQ,
)
BY_NAME = {topic.name: topic for topic in TOPICS}
