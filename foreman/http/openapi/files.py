"""The OpenAPI description of /v1/files."""

from __future__ import annotations

from typing import Any

from foreman.domain.files import BATCH, FILE_ID
from foreman.domain.json_schema import TEXT, words
from foreman.http.compat.files import LIFETIME, MOST_LISTED
from foreman.http.multipart import FORM
from foreman.http.openapi.blocks import OPENAI, Paths, answered, given, operation, path, query
from foreman.http.openapi.codes import WRITE
from foreman.http.openapi.schemas import ref
from foreman.http.openapi.service import TICKET

BYTES = {"type": "string", "format": "binary"}
ONE_FILE = ("file_not_found", "files_not_served", "not_found")
EXPIRY = "expires_after[anchor]", "expires_after[seconds]"  # given together
UPLOAD = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": BYTES,
        "purpose": words(BATCH),
        "expires_after[anchor]": words("created_at"),
        "expires_after[seconds]": {"type": "integer", "minimum": LIFETIME[0], "maximum": LIFETIME[1]},
    },
    "dependentRequired": {one: [other] for one, other in (EXPIRY, EXPIRY[::-1])},
}


def file_paths() -> Paths:
    """Describe the routes of files."""

    def about(name: str, summary: str, answer: dict[str, Any], *errors: str, **more: Any) -> dict[str, Any]:
        return operation(name, summary, answer, errors, dialect=OPENAI, **more)

    one = [path("file_id", TEXT | {"pattern": f"^{FILE_ID.pattern}$"})]
    return {
        "/v1/files": {
            "post": about(
                "upload_file",
                "Upload a file",
                {"200": given(ref("OpenAIFile"))},
                "body_unreadable",
                "wrong_content_type",
                "wrong_content_encoding",
                "request_timeout",
                "file_too_large",
                "field_invalid",
                "files_not_served",
                "quota_exceeded",
                "memory_full",
                "too_slow",
                "blobs_unavailable",
                *WRITE,
                body={FORM: UPLOAD},
                description="The parts may come in any order. The file is streamed to disk.",
            ),
            "get": about(
                "files",
                "List files",
                {"200": given(ref("OpenAIFiles"))},
                "field_invalid",
                "files_not_served",
                "store_busy",
                "store_away",
                "store_lost",
                parameters=[
                    query("after", TEXT, "Files after the one with this id."),
                    query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}),
                    query("order", words("asc", "desc"), "By age; desc, the newest first, by default."),
                    query("purpose", TEXT),
                ],
            ),
        },
        "/v1/files/{file_id}": {
            "parameters": one,
            "get": about("file", "Show a file", {"200": given(ref("OpenAIFile"))}, *ONE_FILE),
            "delete": about(
                "delete_file",
                "Delete a file",
                {"200": given(ref("OpenAIFileDeleted"))},
                "admin_required",
                *ONE_FILE,
                *WRITE,
            ),
        },
        "/v1/files/{file_id}/content": {
            "parameters": one,
            "get": about(
                "file_content",
                "Download a file",
                {
                    "200": answered("The bytes.", {"application/octet-stream": BYTES}),
                    "206": answered("The bytes of the range.", {"application/octet-stream": BYTES}),
                    "304": answered("Not modified."),
                },
                "blob_missing",
                "requested_range_not_satisfiable",
                "memory_full",
                "too_slow",
                *ONE_FILE,
                parameters=[TICKET],
            ),
        },
    }
