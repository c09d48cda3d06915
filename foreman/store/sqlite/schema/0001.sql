-- Jobs, what hangs on them, and the counts that keep scheduling cheap.

CREATE TABLE jobs (
    id              TEXT PRIMARY KEY,   -- ULID: sorts by age
    state           TEXT NOT NULL,
    model           TEXT NOT NULL,
    drain_key       TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    priority        INTEGER NOT NULL,   -- 0 high, 1 normal, 2 low
    attempt         INTEGER NOT NULL DEFAULT 0,
    max_attempts    INTEGER NOT NULL,
    lease           INTEGER NOT NULL DEFAULT 0,
    created_at      REAL NOT NULL,
    since           REAL NOT NULL,      -- when it began to wait; lanes are served in this order
    ready_at        REAL,               -- not to be claimed before; NULL once it may be
    start_by        REAL,
    timeout         REAL,
    started_at      REAL,
    completed_at    REAL,
    expires_at      REAL,
    error           TEXT,
    error_code      TEXT,
    metadata        TEXT,               -- JSON object
    custom_id       TEXT,
    webhook_url     TEXT,
    webhook_events  TEXT,               -- JSON list; NULL: all
    idempotency_key TEXT,
    fingerprint     BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_to_claim ON jobs (drain_key, priority, since, id) WHERE state = 'queued' AND ready_at IS NULL;
CREATE INDEX jobs_to_wake ON jobs (ready_at) WHERE state = 'queued' AND ready_at IS NOT NULL;
CREATE INDEX jobs_to_expire ON jobs (start_by) WHERE state = 'queued' AND start_by IS NOT NULL;
CREATE INDEX jobs_to_prune ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Apart from jobs, so that a change of state never rewrites megabytes.
CREATE TABLE payloads (
    job_id TEXT PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    body   BLOB NOT NULL
) STRICT;

CREATE TABLE artifacts (
    job_id       TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    data         BLOB NOT NULL,
    PRIMARY KEY (job_id, position)
) STRICT;

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused, also after pruning
    job_id   TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
    state    TEXT NOT NULL,
    previous TEXT,
    at       REAL NOT NULL,
    attempt  INTEGER NOT NULL,
    error    TEXT
) STRICT;

CREATE INDEX events_by_job ON events (job_id);

-- The outbox: one row for each event that a webhook is to carry.
CREATE TABLE deliveries (
    seq       INTEGER PRIMARY KEY REFERENCES events ON DELETE CASCADE,
    job_id    TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
    receiver  TEXT NOT NULL,            -- scheme://host:port of the URL
    url       TEXT NOT NULL,
    state     TEXT NOT NULL,            -- due, delivered, dead, stopped
    attempts  INTEGER NOT NULL DEFAULT 0,
    due_at    REAL NOT NULL,
    status    INTEGER,                  -- of the last answer
    error     TEXT,
    ended_at  REAL
) STRICT;

CREATE INDEX deliveries_due ON deliveries (receiver, due_at, seq) WHERE state = 'due';
CREATE INDEX deliveries_by_job ON deliveries (job_id);

-- How many jobs wait in each lane, kept in the transactions that change it.
CREATE TABLE lanes (
    drain_key TEXT NOT NULL,
    priority  INTEGER NOT NULL,
    model     TEXT NOT NULL,
    ready     INTEGER NOT NULL,
    parked    INTEGER NOT NULL,
    PRIMARY KEY (drain_key, priority, model)
) STRICT, WITHOUT ROWID;

-- Small facts that outlive the process: whether the queue is paused, the last known inventory.
CREATE TABLE notes (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
