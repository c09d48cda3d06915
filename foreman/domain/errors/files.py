"""Errors of files and blobs."""

from __future__ import annotations

import re

from foreman.domain.errors.base import ForemanError
from foreman.domain.errors.store import StoreUnavailable


class FileNotFound(ForemanError):
    """The file does not exist, or the caller may not see it."""

    code = "file_not_found"
    field = "id"

    def __init__(self, file_id: str) -> None:
        whole = re.fullmatch("file-[0-7][0-9A-HJKMNP-TV-Z]{25}", file_id)  # anything else is not repeated
        super().__init__(f"No such File object: {file_id}" if whole else "No such File object")


class FileTooLarge(ForemanError):
    """The uploaded file is larger than allowed."""

    code = "file_too_large"
    field = "file"

    def __init__(self, limit: int, hint: str) -> None:
        super().__init__(f"the file is larger than {limit} bytes")
        self.hint = hint


class BlobsUnavailable(StoreUnavailable):
    """The bytes of files and large artifacts cannot be stored now; nothing of the message was stored."""

    code = "blobs_unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(f"files cannot be stored now: {why}")


class BlobMissing(ForemanError):
    """The bytes of a stored file or artifact are not where they should be."""

    code = "blob_missing"
    hint = "foreman check lists all that is missing; restore a backup"

    def __init__(self, digest: str) -> None:
        super().__init__(f"the bytes of blob {digest} are missing")


class FilesNotServed(ForemanError):
    """The request asks for Anthropic's Files API, which is another one than OpenAI's under the same path."""

    code = "files_not_served"
    hint = "files of OpenAI's API are asked for without the header anthropic-version"

    def __init__(self) -> None:
        super().__init__(f"Anthropic's Files API is not served here; {self.hint}")
