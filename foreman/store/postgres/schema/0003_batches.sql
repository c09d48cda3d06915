-- Batches: many requests in one file, each of them a job.
-- A program that does not know of batches would not count the ends of their jobs.

CREATE TABLE batches (
    id            text COLLATE "C" PRIMARY KEY,     -- batch_ and a ULID: sorts by age
    kind          text COLLATE "C" NOT NULL,        -- the API that made it
    owner         text COLLATE "C" NOT NULL,        -- name of the token
    caller        text COLLATE "C" NOT NULL,        -- under the token
    endpoint      text COLLATE "C" NOT NULL,
    state         text COLLATE "C" NOT NULL,
    ending        text COLLATE "C",                 -- the state that it ends in, once that is known
    input_file    text COLLATE "C" NOT NULL,
    input_blob    text COLLATE "C",                 -- digest; kept until the batch has ended
    metadata      text COLLATE "C",                 -- JSON object
    created_at    double precision NOT NULL,
    ends_by       double precision,                 -- lines that have not ended then expire
    ended_at      double precision,
    expires_at    double precision,                 -- 0 while its jobs are being pruned
    times         text COLLATE "C" NOT NULL,        -- JSON object: when it entered each state
    model         text COLLATE "C",                 -- of all lines, if they have one
    total         integer,              -- lines; NULL until the input is checked
    fed           integer NOT NULL,     -- lines that are jobs
    read_to       bigint NOT NULL,     -- bytes of the input up to the end of those lines
    completed     integer NOT NULL,     -- these are kept in the transactions that change jobs
    failed        integer NOT NULL,
    cancelled     integer NOT NULL,
    expired       integer NOT NULL,
    prompt_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    answer_tokens bigint NOT NULL,
    output_file   text COLLATE "C",
    error_file    text COLLATE "C",
    output_ttl    double precision,                 -- seconds
    errors        text COLLATE "C" NOT NULL         -- JSON list
);

CREATE INDEX batches_by_owner ON batches (owner, id);
CREATE INDEX batches_by_input ON batches (input_file);
CREATE INDEX batches_by_blob ON batches (input_blob) WHERE input_blob IS NOT NULL;
CREATE INDEX batches_open ON batches (id) WHERE ended_at IS NULL;
CREATE INDEX batches_to_prune ON batches (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE jobs ADD COLUMN batch_id text COLLATE "C";
ALTER TABLE jobs ADD COLUMN batch_line integer;     -- 0 is the first
CREATE UNIQUE INDEX jobs_by_batch ON jobs (batch_id, batch_line) WHERE batch_id IS NOT NULL;
CREATE INDEX jobs_of_open_batches ON jobs (batch_id) WHERE batch_id IS NOT NULL AND completed_at IS NULL;
