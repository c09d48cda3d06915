-- needs 3
-- Receivers that are told of the ends of responses and batches, and what is on its way to them.

CREATE TABLE webhook_endpoints (
    id          text COLLATE "C" PRIMARY KEY,   -- whe_ and a ULID: sorts by age
    owner       text COLLATE "C" NOT NULL,      -- name of the token
    name        text COLLATE "C" NOT NULL,
    url         text COLLATE "C" NOT NULL,
    event_types text COLLATE "C" NOT NULL,      -- JSON
    secret      text COLLATE "C" NOT NULL,
    old_secret  text COLLATE "C",             -- of before the last rotation, also signed with until old_until
    old_until   double precision,
    created_at  double precision NOT NULL,
    updated_at  double precision
);
CREATE INDEX webhook_endpoints_by_owner ON webhook_endpoints (owner, id);

-- Not rows of `deliveries`, whose key is an event of a job: a batch is no job, and an event may have several endpoints.
CREATE TABLE endpoint_deliveries (
    id          text COLLATE "C" PRIMARY KEY,   -- evt_ and a ULID: sorts by age
    endpoint_id text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,      -- id of the response or batch, which may be deleted meanwhile
    created_at  double precision NOT NULL,
    owner       text COLLATE "C" NOT NULL,      -- of the endpoint
    receiver    text COLLATE "C" NOT NULL,      -- scheme://host:port of the URL
    url         text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,      -- due, delivered, dead, stopped
    attempts    integer NOT NULL,
    due_at      double precision NOT NULL,
    status      integer,            -- of the last answer
    error       text COLLATE "C",
    ended_at    double precision
);
CREATE INDEX endpoint_deliveries_due ON endpoint_deliveries (owner, receiver, due_at, id) WHERE state = 'due';
CREATE INDEX endpoint_deliveries_by_endpoint ON endpoint_deliveries (endpoint_id, id);
CREATE INDEX endpoint_deliveries_by_subject ON endpoint_deliveries (subject, endpoint_id);
CREATE INDEX endpoint_deliveries_to_prune ON endpoint_deliveries (ended_at) WHERE ended_at IS NOT NULL;
