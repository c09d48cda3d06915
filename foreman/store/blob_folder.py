"""Blobs as files of a folder: synced to disk with it before a row names them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foreman.domain.errors import BlobsUnavailable, StoreFull, StoreUnavailable
from foreman.domain.files import Blob
from foreman.store.blobs import Digest, Keys
from foreman.store.flush import flush

BLOBS = "blobs"  # the folder in the data folder
UNFINISHED = ".part"  # ends the name of a blob that is being written: its digest is not known yet
KEPT = ".lock"  # held alone by a backup, and together by those that remove blobs
_DIGEST = 64  # characters


def fleet_folder(secret: bytes) -> str:
    """Return the name of the folder of one database's blobs: what another one knows not, it would remove."""
    return hashlib.sha256(b"blobs of " + secret).hexdigest()[:16]


class BlobFolder:
    """A folder of blobs, which nodes may share. The name of a file is the digest of its bytes and its key."""

    def __init__(self, path: Path, node: str = "") -> None:
        """Use the folder; it is made when the first blob is written."""
        self.path = path
        self._keys = Keys(node)
        self.pending = self._keys.pending

    @property
    def where(self) -> str:
        """Return in words where blobs are stored."""
        return f"the folder {self.path}"

    def begin(self) -> FolderWriter:
        """Return the writer of a new blob, whose key is pending."""
        key = self._keys.new()
        try:
            with _failing():
                if not self.path.is_dir():
                    self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                    _sync(self.path.parent)
                return FolderWriter(self.path, key)
        except BaseException:
            self.pending.discard(key)
            raise

    def file_of(self, blob: Blob) -> Path:
        """Return the file with the bytes of a blob."""
        return self.path / f"{blob.digest}.{blob.key}"

    def read(self, blob: Blob, begin: int, size: int) -> bytes | None:
        """Return a part of a blob, or None when its file is missing. Raise BlobsUnavailable."""
        with _failing(), suppress(FileNotFoundError):
            handle = os.open(self.file_of(blob), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _read(handle, begin, size)
            finally:
                os.close(handle)
        return None

    def files(self) -> dict[str, Path]:
        """Return the files here by key, also unfinished ones. Raise BlobsUnavailable."""
        with _failing():
            try:
                names = os.listdir(self.path)
            except FileNotFoundError:
                return {}
        return {_key(name): self.path / name for name in names if name != KEPT}

    def stored(self, others: Collection[str] | None) -> list[str]:
        """Return the keys of all blobs here that this node may remove."""
        return [key for key in self.files() if self._keys.may_remove(key, others)]

    def may_remove(self, key: str, others: Collection[str] | None) -> bool:
        """Return True for a key that this node may remove."""
        return self._keys.may_remove(key, others)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove blobs, unless a backup is reading them."""
        unwanted = set(keys)
        if not unwanted or not self.path.is_dir():
            return
        with _failing(), self._lock(fcntl.LOCK_SH | fcntl.LOCK_NB) as locked:
            for key, path in self.files().items() if locked else ():
                if key in unwanted:
                    path.unlink(missing_ok=True)

    def has(self, blob: Blob) -> bool:
        """Return True when a blob is stored here whole."""
        return self.file_of(blob).is_file()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Have nothing removed, by any process. Raise BlobsUnavailable."""
        if not self.path.is_dir():
            yield
            return
        with _failing(), self._lock(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _lock(self, how: int) -> Iterator[bool]:
        handle = os.open(self.path / KEPT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, how)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)


class FolderWriter:
    """A blob that is being written to a file."""

    def __init__(self, folder: Path, key: str) -> None:
        """Create the file. Raise OSError."""
        self.key = key
        self._folder = folder
        self._part = folder / f"{key}{UNFINISHED}"
        self._file = open(self._part, "xb", buffering=0, opener=_private)  # noqa: SIM115 - closed by `close`
        self._digest = Digest()

    def write(self, data: bytes) -> None:
        """Add data."""
        with _failing():
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        self._digest.add(data)

    def finish(self) -> Blob:
        """Return the blob once its file and its name are on disk."""
        blob = self._digest.blob(self.key, in_rows=False)
        with _failing():
            flush(self._file.fileno())
            self._part.rename(self._folder / f"{blob.digest}.{blob.key}")
            _sync(self._folder)
        return blob

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _key(name: str) -> str:
    return name.removesuffix(UNFINISHED) if name.endswith(UNFINISHED) else name[_DIGEST + 1 :]


def _read(handle: int, begin: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(handle, size, begin)):
        parts.append(part)
        begin += len(part)
        size -= len(part)
    return b"".join(parts)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush(handle)
    finally:
        os.close(handle)


@contextmanager
def _failing() -> Iterator[None]:
    """Translate the errors of a disk: nothing that failed is acknowledged, and the caller may come again."""
    try:
        yield
    except StoreUnavailable:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull from error
        raise BlobsUnavailable(error.strerror or "the disk failed") from error
