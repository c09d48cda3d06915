-- Files, and the blobs with the bytes of files and of large artifacts.

-- What is stored once, however many files and artifacts have it.
CREATE TABLE blobs (
    digest  text COLLATE "C" PRIMARY KEY,       -- SHA-256, in hexadecimal digits
    key     text COLLATE "C" NOT NULL,          -- of its pieces, or of its file in a folder; never given again
    size    bigint NOT NULL,                    -- bytes
    in_rows integer NOT NULL                    -- 1: its bytes are in blob_pieces
);
CREATE INDEX blobs_by_key ON blobs (key);

CREATE TABLE blob_pieces (
    key      text COLLATE "C" NOT NULL,
    position integer NOT NULL,                  -- from 0; all but the last one have 524288 bytes
    data     bytea NOT NULL,
    PRIMARY KEY (key, position)
);
ALTER TABLE blob_pieces ALTER data SET STORAGE EXTERNAL;

CREATE TABLE files (
    id         text COLLATE "C" PRIMARY KEY,    -- file- and a ULID: sorts by age
    owner      text COLLATE "C" NOT NULL,       -- name of the token
    purpose    text COLLATE "C" NOT NULL,
    filename   text COLLATE "C" NOT NULL,
    size       bigint NOT NULL,                 -- bytes
    created_at double precision NOT NULL,
    expires_at double precision,
    blob       text COLLATE "C" NOT NULL        -- digest
);
CREATE INDEX files_by_owner ON files (owner, id);
CREATE INDEX files_by_blob ON files (blob);
CREATE INDEX files_to_prune ON files (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE artifacts ADD COLUMN blob text COLLATE "C";  -- digest; its data is then empty
CREATE INDEX artifacts_by_blob ON artifacts (blob) WHERE blob IS NOT NULL;
