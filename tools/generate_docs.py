"""Documents that are written from declarations: settings, metrics, topics, and manifests that follow from them."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_settings import BaseSettings

import services
from services.chassis.kafka.topic import Topic
from services.chassis.runtime import metrics
from services.chassis.runtime.settings import REPOSITORY, ServiceSettings
from services.topics import TOPICS
from tools.generate_manifests import manifests

DIRECTORY = REPOSITORY / "docs"
_WRITTEN = "Written by `make docs` from the declarations in the code; do not edit."


def documents() -> Mapping[Path, str]:
    """Every generated document, by its path."""
    _import_all()
    return {
        DIRECTORY / "configuration.md": _configuration(),
        DIRECTORY / "metrics.md": _metrics(metrics.DECLARED.values()),
        DIRECTORY / "topics.md": _topics(TOPICS),
        **manifests(),
    }


def write() -> list[Path]:
    """Write the documents that differ; returns their paths."""
    changed = stale()
    for path in changed:
        path.write_text(documents()[path], encoding="utf-8")
    return changed


def stale() -> list[Path]:
    """The documents that are not what the declarations say."""
    return [path for path, text in documents().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def _import_all() -> None:
    """Declarations happen on import, wherever they stand."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _configuration() -> str:
    parts = [
        "# Configuration\n",
        f"{_WRITTEN}\n",
        "Environment variables; `<NAME>_FILE` names a file that holds the value. Mistakes are told all at once.\n",
    ]
    told: set[str] = set()
    for declared in sorted(ServiceSettings.__subclasses__(), key=_place):
        service = declared.__module__.split(".")[1]
        if service not in told:
            parts.append(f"## {service}\n")
            told.add(service)
        parts.append(f"{declared.__doc__}\n\n" + _table(("variable", "default", "meaning"), _settings_rows(declared)))
    return "\n".join(parts)


def _place(declared: type[BaseSettings]) -> tuple[str, bool, str]:
    """By service, and what its commands need behind what it needs itself."""
    _, service, *room = declared.__module__.split(".")
    return service, room == ["cli"], declared.__name__


def _settings_rows(declared: type[BaseSettings]) -> Iterable[tuple[str, str, str]]:
    for name, field in sorted(declared.model_fields.items()):
        default = "required" if field.is_required() else _shown(field.default)
        yield f"`{name.upper()}`", default, field.description or ""


def _shown(default: object) -> str:
    if default is None:
        return "–"
    if isinstance(default, Path):
        inside = default.is_relative_to(REPOSITORY)
        return f"`{default.relative_to(REPOSITORY) if inside else default}`"
    if isinstance(default, timedelta):
        return f"`{TypeAdapter(timedelta).dump_python(default, mode='json')}`"
    reveal = getattr(default, "get_secret_value", None)
    return f"`{reveal() if reveal else default}`"


def _metrics(declared: Iterable[metrics.MetricDeclaration]) -> str:
    rows = (
        (f"`{one.name}`", one.kind, ", ".join(one.labels) or "–", one.description)
        for one in sorted(declared, key=lambda one: one.name)
    )
    return f"# Metrics\n\n{_WRITTEN}\n\n" + _table(("metric", "kind", "labels", "meaning"), rows)


def _topics(topics: Iterable[Topic]) -> str:
    rows = (
        (
            f"`{topic.name}`",
            r" \| ".join(topic.key).replace("\\", ""),
            f"`{topic.schema}.avsc`" if topic.schema else "original bytes",
            str(topic.cleanup),
            "for ever" if topic.retention_days is None else f"{topic.retention_days} d",
            ", ".join(topic.written_by),
            ", ".join(topic.read_by),
            topic.description,
        )
        for topic in topics
    )
    head = ("topic", "key", "value", "cleanup", "kept", "written by", "read by", "meaning")
    return f"# Topics\n\n{_WRITTEN}\n\n" + _table(head, rows)
