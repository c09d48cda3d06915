"""The OpenAPI description of filters, and of the actions on all jobs that they select."""

from __future__ import annotations

from foreman.domain.batches import BATCH_ID
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.job import JOB_ID
from foreman.domain.json_schema import PRIORITY, STATE, TEXT, TIME, many, text, words
from foreman.http.body import NDJSON
from foreman.http.openapi.blocks import Paths, answered, given, operation, query
from foreman.http.openapi.codes import WRITE
from foreman.http.openapi.schemas import ref
from foreman.http.openapi.service import TICKET
from foreman.http.routes.export import FORMATS, MOST_EXPORTED
from foreman.http.routes.uncancel import CHANGES, MOST
from foreman.http.selection import LONGEST, METADATA_NAME, MOST_METADATA, MOST_VALUE, PART_OF_ID

FILTER = text(LONGEST, least=1)

FILTERED = (
    query(
        "id",
        {"type": "string", "pattern": f"^{PART_OF_ID}$"},
        "A job id, or the beginning or end of one.",
    ),
    query("custom_id", FILTER, "Exact, or a prefix followed by `*`."),
    query("state", many(STATE) | {"minItems": 1}, "Any of these states.", comma=True),
    query("model", FILTER, "As submitted, or any name or alias of the target's."),
    query("priority", PRIORITY),
    query("endpoint", words(*ENDPOINTS)),
    query("error_code", FILTER),
    query("batch_id", {"type": "string", "pattern": f"^{BATCH_ID.pattern}$"}, "Lines of a batch."),
    query("target", FILTER, "Where the latest attempt runs or ran."),
    query("caller", FILTER, "Name of the token that submitted the job."),
    query("created_after", TIME, "At this time or later."),
    query("created_before", TIME),
    query("ended_after", TIME, "Ended at this time or later."),
    query(
        "metadata",
        {
            "type": "object",
            "maxProperties": MOST_METADATA,
            "propertyNames": {"pattern": f"^metadata\\.{METADATA_NAME}$"},
            "additionalProperties": text(MOST_VALUE),
        },
        "`metadata.NAME=VALUE` for each: exact. NAME must not begin with `,`, `:` or `}`.",
    ),
    query(
        "q",
        FILTER,
        "Words that are all in the request or the answer, in any letter case, with accents or without; one that ends "
        "with `*` stands for all that begin so. Needs the setting `full_text`.",
    ),
)

ABOUT = (
    "Filters are those of `GET /jobs`, at least one. Jobs that the action is not for are skipped. One answer acts on "
    "at most 100,000 jobs, the newest ones first, in steps of 1,000, each of them its own transaction; repeat the "
    "request for the rest. After an error the steps before it stay done."
)
DRY_RUN = query("dry_run", words("true", "false"), "true: change nothing; `skipped` are those that would be.")


UNCANCELS = (
    "Jobs of those cancels that were queued are queued again as they were: in their place, with their times and "
    "attempts. Skipped are jobs that ran, were changed since, are lines of batches or find no room."
)


def selection_paths() -> Paths:
    """Return the actions on all jobs that filters select, and the one that takes a cancel back."""
    actions = {
        "cancel": ("Cancel all selected jobs that have not ended", "CancelledMany", ()),
        "retry": ("Requeue all selected jobs that have failed, expired or been cancelled", "Acted", ("rate_limited",)),
        "delete": ("Delete all selected jobs that have ended", "Acted", ()),
    }
    changes = query(
        "changes",
        {"type": "string", "pattern": f"^{CHANGES}$"},
        f"`changes` of an answer of `POST /jobs/cancel`, at most {MOST:,} of them.",
        required=True,
    )
    exported = {
        NDJSON: TEXT | {"description": "One ListedJob per line."},
        "text/csv": TEXT | {"description": "A head, and one job per line."},
    }
    export = operation(
        "export_jobs",
        "Download all selected jobs, newest first",
        {"200": answered("A stream.", exported)},
        ("field_invalid", "not_indexed", "too_slow"),
        parameters=[
            query("format", words(*FORMATS), required=True),
            *FILTERED,
            query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_EXPORTED}, "Jobs at most."),
            query("after", {"type": "string", "pattern": f"^{JOB_ID}$"}, "Jobs older than this one."),
            TICKET,
        ],
        description="Jobs that are submitted meanwhile are not in it.",
    )
    return (
        {"/jobs/export": {"get": export}}
        | {
            f"/jobs/{verb}": {
                "post": operation(
                    f"{verb}_jobs",
                    summary,
                    {"200": given(ref(answer))},
                    ("field_invalid", "not_indexed", *WRITE, *errors),
                    parameters=[*FILTERED, DRY_RUN],
                    description=ABOUT,
                )
            }
            for verb, (summary, answer, errors) in actions.items()
        }
        | {
            "/jobs/uncancel": {
                "post": operation(
                    "uncancel_jobs",
                    "Take back a cancel of many for jobs that were queued",
                    {"200": given(ref("Acted"))},
                    ("field_invalid", *WRITE),
                    parameters=[changes],
                    description=UNCANCELS,
                )
            }
        }
    )
