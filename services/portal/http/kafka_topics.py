"""Pages for developers: Kafka topics, their schemas, and records as JSON."""

from collections.abc import Mapping, Sequence

from aiohttp import web

from services.chassis.avro.record_decoder import parse_bytes
from services.portal.domain.kafka_records import MAX_RECORD_CHARACTERS, RecordText, TopicText
from services.portal.http.developers import BACK, BASE
from services.portal.http.pages import Pages
from services.portal.http.visits import Visit, not_found
from services.portal.ports import Registry

TOPICS, DECODE = BASE + "/topics", BASE + "/decode"


class KafkaPages:
    """The pages of topics and records."""

    def __init__(
        self, pages: Pages, registry: Registry, topics: Mapping[str, TopicText], examples: Mapping[str, str]
    ) -> None:
        """`examples` are records as JSON, by the name of their schema."""
        self._pages, self._registry = pages, registry
        self._topics, self._examples = topics, examples

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(TOPICS, self.list),
            self._pages.get(TOPICS + "/{topic}", self.show),
            self._pages.get(DECODE, self.form),
            self._pages.post(DECODE, self.decode, max_bytes=2 * MAX_RECORD_CHARACTERS),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """All topics."""
        return self._pages.page(visit, "topics.html", topics=self._topics.values(), back=BACK)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One topic: its schema, and an example."""
        topic = self._topics.get(visit.request.match_info["topic"])
        if topic is None:
            raise not_found("topic", back=("Topics", TOPICS))
        return self._pages.page(
            visit,
            "topic.html",
            topic=topic,
            schema=await self._registry.schema(topic.subject),
            example=self._examples.get(topic.example_name),
            back=("Topics", TOPICS),
        )

    async def form(self, visit: Visit) -> web.StreamResponse:
        """A form for a record's bytes."""
        return self._show(visit, {})

    async def decode(self, visit: Visit) -> web.StreamResponse:
        """The record that was pasted, as JSON."""
        problems, parsed = {}, dict[str, bytes]()
        for name in ("value", "header"):
            text = visit.form.get(name, "").strip()
            try:
                if len(text) > MAX_RECORD_CHARACTERS:
                    problems[name] = f"At most {MAX_RECORD_CHARACTERS:,} characters can be decoded here."
                elif text:
                    parsed[name] = parse_bytes(text.encode())
            except ValueError:
                problems[name] = "This is neither base64 nor hexadecimal."
        if "value" not in parsed:
            problems.setdefault("value", "Paste the bytes of a record's value.")
        if problems:
            return self._show(visit, visit.form, problems, status=400)
        record = await self._registry.decode(parsed["value"], parsed.get("header"))
        if isinstance(record, str):
            return self._show(visit, visit.form, {"value": record}, status=400)
        return self._show(visit, visit.form, record=record)

    def _show(
        self,
        visit: Visit,
        form: Mapping[str, str],
        problems: Mapping[str, str] | None = None,
        *,
        record: RecordText | None = None,
        status: int = 200,
    ) -> web.StreamResponse:
        return self._pages.page(
            visit,
            "decode.html",
            status=status,
            value=form.get("value", ""),
            header=form.get("header", ""),
            problems=problems or {},
            record=record,
            back=BACK,
        )
