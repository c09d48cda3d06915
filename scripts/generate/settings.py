"""Generate config/foreman.toml and the tables of docs/settings.md from the descriptions of the settings."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping

from pydantic.fields import FieldInfo

from foreman.config.cost_settings import CostSettings
from foreman.config.managed_model import ManagedModel
from foreman.config.quota_settings import QuotaSettings
from foreman.config.settings import Settings, reloads
from foreman.config.shown import shown, unmarked, without_secrets
from foreman.config.target_settings import TargetSettings
from scripts.generate import ROOT

TOML = "config/foreman.toml"
PAGE = "docs/settings.md"

SECTIONS = {  # each begins at a setting and ends where the next one begins
    "addr": "Address and access",
    "data_dir": "Data",
    "ollama_url": "Target",
    "slots": "Limits",
    "max_attempts": "Retries and timeouts",
    "webhook_secret": "Webhooks and the feed",
    "job_ttl": "Retention and the process",
}
WIDTH = 120  # columns of the TOML file


def toml() -> str:
    """Return the text of foreman.toml; its head, and its end with examples of tables, are kept."""
    text = (ROOT / TOML).read_text(encoding="utf-8")
    head, _, _ = text.partition("\n\n# ---- ")
    _, mark, end = text.partition("\n\n# ---- Targets, one table each")
    return head.rstrip() + "\n" + "".join(map(_section_of_toml, SECTIONS.values())) + mark + end


def page() -> str:
    """Return the text of settings.md; the table under the heading of a section is replaced."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    tables = {title: _table("setting", dict(_settings_of(title)), reloading=True) for title in SECTIONS.values()}
    tables["A target"] = _table("key", TargetSettings.model_fields)
    tables["A quota"] = _table("key", QuotaSettings.model_fields)
    tables["A cost"] = _table("key", CostSettings.model_fields)
    tables["A managed model"] = _table("key", ManagedModel.model_fields)
    for title, table in tables.items():
        found = re.search(rf"^## {title}\n(?:(?![#|]).*\n)*((?:\|.*\n)+)", text, re.MULTILINE)
        if not found:
            raise ValueError(f"{PAGE} needs a heading '## {title}' with a table under it")
        text = text[: found.start(1)] + table + text[found.end(1) :]
    return text


def _settings_of(wanted: str) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the settings of a section."""
    title = ""
    for name, field in Settings.model_fields.items():
        title = SECTIONS.get(name, title)
        if title == wanted:
            yield name, field


def _section_of_toml(title: str) -> str:
    entries = (f"\n\n{_comment(field)}\n# {name} = {_value(field)}" for name, field in _settings_of(title))
    return f"\n\n# ---- {title}{''.join(entries)}\n"


def _comment(field: FieldInfo) -> str:
    return textwrap.fill(
        unmarked(field.description or ""),
        WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _value(field: FieldInfo) -> str:
    """Return the default as TOML; times and sizes with their unit. One that is the platform's is an example."""
    if field.default_factory:
        assert field.examples
        return json.dumps(field.examples[0])
    value = without_secrets(field.default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value)
    text = shown(field, value)
    return json.dumps(text) if " " in text else text


def _table(head: str, fields: Mapping[str, FieldInfo], *, reloading: bool = False) -> str:
    """Return a table of fields; `reloading` adds a column that says which of them a reload takes over."""
    columns = [head, "default", *(["reloads"] if reloading else []), "meaning"]
    rows = [
        [f"`{name}`", _default(field), *([_reloads(field)] if reloading else []), field.description or ""]
        for name, field in fields.items()
    ]
    lines = [columns, *rows]
    shown = [f"| {' | '.join(line)} |\n" for line in lines]
    return "".join([shown[0], "|" + "---|" * len(columns) + "\n", *shown[1:]])


def _reloads(field: FieldInfo) -> str:
    return "yes" if reloads(field) else "no"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory:
        return "the platform's"
    if isinstance(field.default, bool):
        return f"`{json.dumps(field.default)}`"
    if not field.default and field.default != 0:
        return "none"
    text = shown(field, field.default)
    return f"`{text}`" if isinstance(field.default, str) else text
