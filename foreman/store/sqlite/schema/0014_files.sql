-- Files, and the blobs with the bytes of files and of large artifacts.

-- What is stored once, however many files and artifacts have it.
CREATE TABLE blobs (
    digest  TEXT PRIMARY KEY,       -- SHA-256, in hexadecimal digits
    key     TEXT NOT NULL,          -- of its file in the folder blobs, or of its pieces; never given again
    size    INTEGER NOT NULL,       -- bytes
    in_rows INTEGER NOT NULL        -- 1: its bytes are in blob_pieces, as in a backup
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_key ON blobs (key);

CREATE TABLE blob_pieces (
    key      TEXT NOT NULL,
    position INTEGER NOT NULL,      -- from 0; all but the last one have 524288 bytes
    data     BLOB NOT NULL,
    PRIMARY KEY (key, position)
) STRICT;

CREATE TABLE files (
    id         TEXT PRIMARY KEY,    -- file- and a ULID: sorts by age
    owner      TEXT NOT NULL,       -- name of the token
    purpose    TEXT NOT NULL,
    filename   TEXT NOT NULL,
    size       INTEGER NOT NULL,    -- bytes
    created_at REAL NOT NULL,
    expires_at REAL,
    blob       TEXT NOT NULL        -- digest
) STRICT, WITHOUT ROWID;

CREATE INDEX files_by_owner ON files (owner, id);
CREATE INDEX files_by_blob ON files (blob);
CREATE INDEX files_to_prune ON files (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE artifacts ADD COLUMN blob TEXT;  -- digest; its data is then empty
CREATE INDEX artifacts_by_blob ON artifacts (blob) WHERE blob IS NOT NULL;
