-- All tables. Text is compared byte by byte ("C"), as SQLite does. No foreign keys: each would cost a look-up and a lock
-- of the job's row per row written, under the write lock; the writer deletes what belongs to a job with it.

-- One row, the write lock: every transaction that writes locks it first, so that one node writes at a time.
CREATE TABLE fleet_state (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema      integer NOT NULL,           -- version; set by the program
    needs       integer NOT NULL,           -- the version that a program has to know; set by the program
    commits     bigint NOT NULL DEFAULT 0,  -- that changed something
    seq         bigint NOT NULL DEFAULT 0,  -- of the newest event ever
    pruned      bigint NOT NULL DEFAULT 0,  -- the newest seq removed by pruning
    posts       bigint NOT NULL DEFAULT 0,  -- commits that made a delivery due
    told        bigint NOT NULL DEFAULT 0,  -- commits that changed what nodes tell of themselves
    coordinator text COLLATE "C" NOT NULL DEFAULT '',   -- name of the node that prunes and sends webhooks
    secret      bytea NOT NULL              -- nodes show each other that they belong together
) WITH (fillfactor = 10);

CREATE TABLE nodes (
    name        text COLLATE "C" PRIMARY KEY,
    id          text COLLATE "C" NOT NULL,  -- kept in its data folder
    url         text COLLATE "C",           -- where the others reach it
    version     text COLLATE "C" NOT NULL,  -- of its program
    schema      integer NOT NULL,           -- the newest version that it knows
    epoch       integer NOT NULL,           -- grows whenever it joins, or is evicted
    batch       bigint NOT NULL,            -- its transactions in this epoch: the marker of an uncertain commit
    state       text COLLATE "C" NOT NULL,  -- up, draining, gone
    seen_at     double precision NOT NULL,  -- seconds since the epoch, by the server's clock
    heard_since double precision NOT NULL,  -- since when it has written without a long pause
    targets     text COLLATE "C" NOT NULL   -- JSON, as it tells the others of them
) WITH (fillfactor = 20);

CREATE TABLE jobs (
    id              text COLLATE "C" PRIMARY KEY,   -- ULID: sorts by age
    state           text COLLATE "C" NOT NULL,
    model           text COLLATE "C" NOT NULL,
    drain_key       text COLLATE "C" NOT NULL,
    endpoint        text COLLATE "C" NOT NULL,
    priority        smallint NOT NULL,              -- 0 high, 1 normal, 2 low
    attempt         integer NOT NULL DEFAULT 0,
    max_attempts    integer NOT NULL,
    lease           integer NOT NULL DEFAULT 0,     -- the fence: counts claims
    created_at      double precision NOT NULL,
    since           double precision NOT NULL,      -- when it began to wait; lines are served in this order
    ready_at        double precision,               -- not to be claimed before; NULL once it may be
    start_by        double precision,
    timeout         double precision,
    started_at      double precision,
    completed_at    double precision,
    expires_at      double precision,
    error           text COLLATE "C",
    error_code      text COLLATE "C",
    metadata        text COLLATE "C",               -- JSON object
    custom_id       text COLLATE "C",
    webhook_url     text COLLATE "C",
    webhook_events  text COLLATE "C",               -- JSON list; NULL: all
    idempotency_key text COLLATE "C",
    fingerprint     bytea,
    owner           text COLLATE "C" NOT NULL DEFAULT '',   -- name of the token
    caller          text COLLATE "C" NOT NULL DEFAULT '',   -- under the token
    most_tokens     bigint,
    target          text COLLATE "C",               -- of the latest attempt
    gave_way        integer NOT NULL DEFAULT 0,
    prefix          bytea,                          -- beginning of the prompt as a chain of hashes
    canonical       text COLLATE "C" GENERATED ALWAYS AS (split_part(drain_key, ' {', 1)) STORED
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);

CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_to_claim ON jobs (drain_key, priority, owner, caller, since, id)
    WHERE state = 'queued' AND ready_at IS NULL;
CREATE INDEX jobs_by_prefix ON jobs (drain_key, priority, owner, caller, prefix, since, id)
    WHERE state = 'queued' AND ready_at IS NULL AND prefix IS NOT NULL;
CREATE INDEX jobs_running ON jobs (started_at, id) WHERE state IN ('loading', 'working');
CREATE INDEX jobs_to_wake ON jobs (ready_at, id) WHERE state = 'queued' AND ready_at IS NOT NULL;
CREATE INDEX jobs_to_expire ON jobs (start_by) WHERE state = 'queued' AND start_by IS NOT NULL;
CREATE INDEX jobs_to_prune ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_canonical ON jobs (canonical, state, id);
CREATE INDEX jobs_by_alias ON jobs (model, state, id) WHERE model <> canonical;
CREATE INDEX jobs_by_endpoint ON jobs (endpoint, priority, id);
CREATE INDEX jobs_by_custom_id ON jobs (custom_id, id) WHERE custom_id IS NOT NULL;
CREATE INDEX jobs_by_error_code ON jobs (error_code, id) WHERE error_code IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (state, completed_at, id) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_by_owner ON jobs (owner, state, id) WHERE owner <> '';
CREATE INDEX jobs_by_caller ON jobs (caller, state, id) WHERE caller <> '';

-- Apart from jobs, so that a change of state never rewrites megabytes; uncompressed, so that parts are read as parts.
CREATE TABLE payloads (
    job_id text COLLATE "C" PRIMARY KEY,
    body   bytea NOT NULL
);
ALTER TABLE payloads ALTER body SET STORAGE EXTERNAL;

CREATE TABLE artifacts (
    job_id       text COLLATE "C" NOT NULL,
    position     integer NOT NULL,
    name         text COLLATE "C" NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    size         integer NOT NULL,
    data         bytea NOT NULL,
    PRIMARY KEY (job_id, position)
);
ALTER TABLE artifacts ALTER data SET STORAGE EXTERNAL;
CREATE INDEX artifacts_by_name ON artifacts (job_id, name) WHERE position >= 8;

CREATE TABLE events (
    seq      bigint PRIMARY KEY,
    job_id   text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,
    previous text COLLATE "C",
    at       double precision NOT NULL,
    attempt  integer NOT NULL,
    error    text COLLATE "C",
    target   text COLLATE "C"
);
CREATE INDEX events_by_job ON events (job_id, seq);

-- The outbox: one row for each event that a webhook is to carry.
CREATE TABLE deliveries (
    seq      bigint PRIMARY KEY,
    job_id   text COLLATE "C" NOT NULL,
    owner    text COLLATE "C" NOT NULL,         -- of the job
    receiver text COLLATE "C" NOT NULL,         -- scheme://host:port of the URL
    url      text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,         -- due, delivered, dead, stopped
    attempts integer NOT NULL DEFAULT 0,
    due_at   double precision NOT NULL,
    status   integer,                           -- of the last answer
    error    text COLLATE "C",
    ended_at double precision
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
CREATE INDEX deliveries_due ON deliveries (owner, receiver, due_at, seq) WHERE state = 'due';
CREATE INDEX deliveries_by_job ON deliveries (job_id, seq);

-- The jobs of one caller that wait in a lane, counted in the transactions that change it.
CREATE TABLE lines (
    drain_key text COLLATE "C" NOT NULL,
    priority  smallint NOT NULL,
    owner     text COLLATE "C" NOT NULL,
    caller    text COLLATE "C" NOT NULL,
    ready     integer NOT NULL,                 -- claimable jobs
    parked    integer NOT NULL,                 -- jobs with a start time in the future
    version   bigint NOT NULL,                  -- the fleet's commit that changed it last; empty lines stay for a while
    PRIMARY KEY (drain_key, priority, owner, caller)
) WITH (fillfactor = 50);
CREATE INDEX lines_by_version ON lines (version);

-- What happened in every minute (step 60) and hour (step 3600). Hours have a negative `at`.
CREATE TABLE usage (
    step          integer NOT NULL,             -- seconds
    at            bigint NOT NULL,              -- its beginning, seconds since the epoch
    model         text COLLATE "C" NOT NULL,
    caller        text COLLATE "C" NOT NULL,
    target        text COLLATE "C" NOT NULL,
    endpoint      text COLLATE "C" NOT NULL,
    submitted     bigint NOT NULL,
    done          bigint NOT NULL,
    failed        bigint NOT NULL,
    cancelled     bigint NOT NULL,
    expired       bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    answer_tokens bigint NOT NULL,
    loads         bigint NOT NULL,
    busy_seconds  double precision NOT NULL,
    -- How many jobs started after waits of up to 0.05, 0.1, 0.2, … seconds; the last one: after longer ones.
    wait_0  bigint NOT NULL, wait_1  bigint NOT NULL, wait_2  bigint NOT NULL, wait_3  bigint NOT NULL,
    wait_4  bigint NOT NULL, wait_5  bigint NOT NULL, wait_6  bigint NOT NULL, wait_7  bigint NOT NULL,
    wait_8  bigint NOT NULL, wait_9  bigint NOT NULL, wait_10 bigint NOT NULL, wait_11 bigint NOT NULL,
    wait_12 bigint NOT NULL, wait_13 bigint NOT NULL, wait_14 bigint NOT NULL, wait_15 bigint NOT NULL,
    wait_16 bigint NOT NULL, wait_17 bigint NOT NULL, wait_18 bigint NOT NULL, wait_19 bigint NOT NULL,
    wait_20 bigint NOT NULL, wait_21 bigint NOT NULL,
    PRIMARY KEY (step, at, model, caller, target, endpoint)
) WITH (fillfactor = 50);

-- The depth of the queue in every step that has a change.
CREATE TABLE depths (
    step    integer NOT NULL,
    at      bigint NOT NULL,
    first   integer NOT NULL,                   -- waiting when it began
    waiting integer NOT NULL,                   -- the most at once
    running integer NOT NULL,
    PRIMARY KEY (step, at)
) WITH (fillfactor = 50);

-- Small facts that outlive the process: whether the queue is paused, the last known inventory.
CREATE TABLE notes (
    name  text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
) WITH (fillfactor = 50);

-- When counting began; nothing is known of the time before.
INSERT INTO notes (name, value) VALUES ('usage_since', floor(extract(epoch FROM clock_timestamp()))::bigint::text);
-- 244 random bits from the server's generator for secrets.
INSERT INTO fleet_state (schema, needs, secret)
VALUES (0, 0, sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
