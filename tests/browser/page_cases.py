"""The pages that the generic checks go through. Add a page here, and all of them apply to it."""

from dataclasses import dataclass

CUSTOMER = ("5934de97c95e1ced", "2l9dr0jkink11ad49hg93it52d")
OTHER_CUSTOMER = ("7a81c2f04be96d35", "k3v09qmdw7pz1r5x8tj2bn6hcf")
OPERATOR = ("0f6b3d1e92c87a45", "q8w2n5yd3kz7r1m6vt4xj9bc0p")


@dataclass(frozen=True, slots=True)
class PageCase:
    """A page: its name (of pictures, too), its path, and who opens it; None is nobody.

    The path may name what `seed.py` has made: `{job}`, an import with failures of several kinds; `{good_job}`, one
    without; `{file}`, a file, its `{check}` and its `{file_import}`; `{unreadable}`, one that cannot be read;
    `{dead_letter}` and `{replay}`. `status` is that of the response, `title` the text of its heading.
    """

    name: str
    path: str
    title: str
    who: tuple[str, str] | None = CUSTOMER
    status: int = 200


PAGES = (
    PageCase("sign-in", "/portal/sign-in", "Sign in", who=None),
    PageCase("home", "/portal/", "Home"),
    PageCase("home-empty", "/portal/", "Home", who=OTHER_CUSTOMER),
    PageCase("home-operator", "/portal/", "Home", who=OPERATOR),
    PageCase("jobs", "/portal/jobs", "Imports"),
    PageCase("jobs-filtered", "/portal/jobs?state=FAILED&type=returns", "Imports"),
    PageCase("jobs-empty", "/portal/jobs", "Imports", who=OTHER_CUSTOMER),
    PageCase("job", "/portal/jobs/{job}", "Orders import"),
    PageCase("job-failed-records", "/portal/jobs/{job}?outcome=failed", "Orders import"),
    PageCase("job-good", "/portal/jobs/{good_job}", "Orders import"),
    PageCase("mend", "/portal/jobs/{job}/mend", "Mend and send again"),
    PageCase("mend-empty", "/portal/jobs/{good_job}/mend", "Mend and send again"),
    PageCase("files", "/portal/files", "Import a file"),
    PageCase("files-empty", "/portal/files", "Import a file", who=OTHER_CUSTOMER),
    PageCase("file", "{file}", "May sales.csv"),
    PageCase("file-unreadable", "{unreadable}", "Scan.pdf"),
    PageCase("file-check", "{check}", "Check of May sales.csv"),
    PageCase("file-import", "{file_import}", "Import of May sales.csv"),
    PageCase("events", "/portal/events", "Events"),
    PageCase("events-of-a-kind", "/portal/events?type=invoice.issued", "Events"),
    PageCase("events-empty", "/portal/events", "Events", who=OTHER_CUSTOMER),
    PageCase("event-not-found", "/portal/events/feed/x?at=2026-11-30T10:00:00Z", "No such event", status=404),
    PageCase("endpoint", "/portal/events/endpoints/{endpoint}", "Endpoint"),
    PageCase("endpoint-new", "/portal/events/endpoints/new", "Add an endpoint"),
    PageCase("endpoint-change", "/portal/events/endpoints/{endpoint}/change", "Change the endpoint"),
    PageCase("endpoint-delete", "/portal/events/endpoints/{endpoint}/delete", "Delete this endpoint?"),
    PageCase("endpoint-not-found", "/portal/events/endpoints/nothing", "No such endpoint", status=404),
    PageCase("developers", "/portal/developers", "Developers"),
    PageCase("api", "/portal/developers/apis/omnichannel", "Tillstream import API"),
    PageCase("operation", "/portal/developers/apis/omnichannel/importOrders", "Import up to 100 orders"),
    PageCase("operation-read", "/portal/developers/apis/events/readFeed", "Events of a site, oldest first"),
    PageCase(
        "operation-of-tokens", "/portal/developers/apis/auth/issueImportToken", "Issue a token for the import API"
    ),
    PageCase("api-not-found", "/portal/developers/apis/nothing", "No such API", status=404),
    PageCase("topics", "/portal/developers/topics", "Topics"),
    PageCase("topic", "/portal/developers/topics/orders.submitted.v1", "orders.submitted.v1"),
    PageCase("decode", "/portal/developers/decode", "Decode a record"),
    PageCase("developers-operator", "/portal/developers", "Developers", who=OPERATOR),
    PageCase("operator", "/portal/operator", "Administration", who=OPERATOR),
    PageCase("operator-site", "/portal/operator/sites/608", "Site 608", who=OPERATOR),
    PageCase("operator-clients", "/portal/operator/clients", "Administration", who=OPERATOR),
    PageCase("operator-clients-empty", "/portal/operator/clients?site=999", "Administration", who=OPERATOR),
    PageCase("operator-client", "/portal/operator/clients/5934de97c95e1ced", "Client", who=OPERATOR),
    PageCase("operator-client-new", "/portal/operator/new-client", "Add a client", who=OPERATOR),
    PageCase("operator-keys", "/portal/operator/keys", "Administration", who=OPERATOR),
    PageCase("operator-topics", "/portal/operator/topics", "Administration", who=OPERATOR),
    PageCase("operator-dead-letters", "/portal/operator/dead-letters", "Administration", who=OPERATOR),
    PageCase("operator-dead-letters-none", "/portal/operator/dead-letters?reason=x", "Administration", who=OPERATOR),
    PageCase("operator-dead-letter", "{dead_letter}", "Dead letter", who=OPERATOR),
    PageCase("operator-replays", "/portal/operator/replays", "Administration", who=OPERATOR),
    PageCase("operator-replay", "{replay}", "Replay", who=OPERATOR),
    PageCase("operator-replay-not-found", "/portal/operator/replays/x", "No such replay", who=OPERATOR, status=404),
    PageCase("operator-audit", "/portal/operator/audit", "Administration", who=OPERATOR),
    PageCase("operator-not-allowed", "/portal/operator", "Not allowed", status=403),
    PageCase("reports", "/portal/reports?from=2026-11-01&to=2026-11-30", "Reports"),
    PageCase("reports-by-day", "/portal/reports?from=2026-11-01&to=2026-11-30&by=day&mode=online", "Reports"),
    PageCase("reports-empty", "/portal/reports?range=7d", "Reports", who=OTHER_CUSTOMER),
    PageCase("reports-corrected", "/portal/reports?from=2026-11-30&to=2026-11-01&by=x", "Reports"),
    PageCase("users", "/portal/users", "Users"),
    PageCase("user", "/portal/users/customer-3", "User"),
    PageCase("user-unknown", "/portal/users/nobody", "No such user", status=404),
    PageCase("user-erase", "/portal/users/customer-3/erase", "Erase this user?"),
    PageCase("codes", "/portal/codes", "Codes"),
    PageCase("codes-empty", "/portal/codes", "Codes", who=OTHER_CUSTOMER),
    PageCase("codes-filtered", "/portal/codes?number=none&from=2026-13-01", "Codes"),
    PageCase("codes-new", "/portal/codes/new", "Order codes"),
    PageCase("codes-order", "/portal/codes/orders/{order}", "Order of codes"),
    PageCase("codes-order-unknown", "/portal/codes/orders/0", "No such order", status=404),
    PageCase("codes-days", "/portal/codes/days", "Purchase orders"),
    PageCase("codes-days-empty", "/portal/codes/days?date=2020-01-01", "Purchase orders"),
    PageCase("codes-invoices-empty", "/portal/codes/invoices", "Invoices", who=OTHER_CUSTOMER),
    PageCase("not-found", "/portal/jobs/00000000-0000-1000-8000-000000000000", "No such import", status=404),
)
