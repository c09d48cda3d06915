-- Receivers that are told of the ends of responses and batches, and what is on its way to them.

CREATE TABLE webhook_endpoints (
    id          TEXT PRIMARY KEY,   -- whe_ and a ULID: sorts by age
    owner       TEXT NOT NULL,      -- name of the token
    name        TEXT NOT NULL,
    url         TEXT NOT NULL,
    event_types TEXT NOT NULL,      -- JSON
    secret      TEXT NOT NULL,
    old_secret  TEXT,               -- of before the last rotation, also signed with until old_until
    old_until   REAL,
    created_at  REAL NOT NULL,
    updated_at  REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_endpoints_by_owner ON webhook_endpoints (owner, id);

-- Not rows of `deliveries`, whose key is an event of a job: a batch is no job, and an event may have several endpoints.
CREATE TABLE endpoint_deliveries (
    id          TEXT PRIMARY KEY,   -- evt_ and a ULID: sorts by age
    endpoint_id TEXT NOT NULL,
    type        TEXT NOT NULL,
    subject     TEXT NOT NULL,      -- id of the response or batch, which may be deleted meanwhile
    created_at  REAL NOT NULL,
    owner       TEXT NOT NULL,      -- of the endpoint
    receiver    TEXT NOT NULL,      -- scheme://host:port of the URL
    url         TEXT NOT NULL,
    state       TEXT NOT NULL,      -- due, delivered, dead, stopped
    attempts    INTEGER NOT NULL,
    due_at      REAL NOT NULL,
    status      INTEGER,            -- of the last answer
    error       TEXT,
    ended_at    REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_deliveries_due ON endpoint_deliveries (owner, receiver, due_at, id) WHERE state = 'due';
CREATE INDEX endpoint_deliveries_by_endpoint ON endpoint_deliveries (endpoint_id, id);
CREATE INDEX endpoint_deliveries_by_subject ON endpoint_deliveries (subject, endpoint_id);
CREATE INDEX endpoint_deliveries_to_prune ON endpoint_deliveries (ended_at) WHERE ended_at IS NOT NULL;
