-- Batches: many requests in one file, each of them a job.

CREATE TABLE batches (
    id            TEXT PRIMARY KEY,     -- batch_ and a ULID: sorts by age
    kind          TEXT NOT NULL,        -- the API that made it
    owner         TEXT NOT NULL,        -- name of the token
    caller        TEXT NOT NULL,        -- under the token
    endpoint      TEXT NOT NULL,
    state         TEXT NOT NULL,
    ending        TEXT,                 -- the state that it ends in, once that is known
    input_file    TEXT NOT NULL,
    input_blob    TEXT,                 -- digest; kept until the batch has ended
    metadata      TEXT,                 -- JSON object
    created_at    REAL NOT NULL,
    ends_by       REAL,                 -- lines that have not ended then expire
    ended_at      REAL,
    expires_at    REAL,                 -- 0 while its jobs are being pruned
    times         TEXT NOT NULL,        -- JSON object: when it entered each state
    model         TEXT,                 -- of all lines, if they have one
    total         INTEGER,              -- lines; NULL until the input is checked
    fed           INTEGER NOT NULL,     -- lines that are jobs
    read_to       INTEGER NOT NULL,     -- bytes of the input up to the end of those lines
    completed     INTEGER NOT NULL,     -- these are kept in the transactions that change jobs
    failed        INTEGER NOT NULL,
    cancelled     INTEGER NOT NULL,
    expired       INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    answer_tokens INTEGER NOT NULL,
    output_file   TEXT,
    error_file    TEXT,
    output_ttl    REAL,                 -- seconds
    errors        TEXT NOT NULL         -- JSON list
) STRICT, WITHOUT ROWID;

CREATE INDEX batches_by_owner ON batches (owner, id);
CREATE INDEX batches_by_input ON batches (input_file);
CREATE INDEX batches_by_blob ON batches (input_blob) WHERE input_blob IS NOT NULL;
CREATE INDEX batches_open ON batches (id) WHERE ended_at IS NULL;
CREATE INDEX batches_to_prune ON batches (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE jobs ADD COLUMN batch_id TEXT;
ALTER TABLE jobs ADD COLUMN batch_line INTEGER;     -- 0 is the first
CREATE UNIQUE INDEX jobs_by_batch ON jobs (batch_id, batch_line) WHERE batch_id IS NOT NULL;
CREATE INDEX jobs_of_open_batches ON jobs (batch_id) WHERE batch_id IS NOT NULL AND completed_at IS NULL;
