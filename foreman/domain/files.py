"""Files: what callers upload and what batches answer with, and the blobs that hold their bytes."""

from __future__ import annotations

import re

import msgspec

from foreman.domain.job import Instant

BATCH = "batch"  # purpose of an uploaded file with the requests of a batch
BATCH_OUTPUT = "batch_output"  # purpose of a file with the answers of a batch
BATCH_RESULTS = "batch_results"  # purpose of a file that is part of its batch, with no id of /v1/files
PIECE = 2**19  # bytes of a blob that are read, written or stored as a row at once
DROPPED = 8  # pieces that one transaction deletes: others wait for it
LARGEST_ROW = 2**20  # bytes; a larger artifact is stored as a blob
FILE_ID = re.compile("file-[0-7][0-9A-HJKMNP-TV-Z]{25}")  # a ULID after the prefix of OpenAI's ids


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of files and large artifacts, stored once however many have them."""

    digest: str  # SHA-256, in hexadecimal digits
    key: str  # where the bytes are; never given again
    size: int  # bytes
    in_rows: bool = False  # in the database, else in the folder


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file."""

    id: str
    owner: str  # the name of the token that made it
    purpose: str
    filename: str  # as its caller gave it
    size: int  # bytes
    created_at: Instant
    expires_at: Instant | None
    blob: str  # digest
