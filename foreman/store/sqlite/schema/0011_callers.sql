-- Callers share the slot time, and prompts that begin alike follow each other.

-- The caller under the token of `owner`.
ALTER TABLE jobs ADD COLUMN caller TEXT NOT NULL DEFAULT '';
-- The beginning of the prompt as a chain of hashes; NULL: it is too short to matter.
ALTER TABLE jobs ADD COLUMN prefix BLOB;
-- How often the job gave way to an urgent one.
ALTER TABLE jobs ADD COLUMN gave_way INTEGER NOT NULL DEFAULT 0;

CREATE INDEX jobs_by_caller ON jobs (caller, state) WHERE caller <> '';
DROP INDEX jobs_to_claim;
CREATE INDEX jobs_to_claim ON jobs (drain_key, priority, owner, caller, since, id)
    WHERE state = 'queued' AND ready_at IS NULL;
CREATE INDEX jobs_by_prefix ON jobs (drain_key, priority, owner, caller, prefix, since, id)
    WHERE state = 'queued' AND ready_at IS NULL AND prefix IS NOT NULL;

-- A lane is a load key and a priority; a line has the jobs of one caller in it.
CREATE TABLE lines (
    drain_key TEXT NOT NULL,
    priority  INTEGER NOT NULL,
    owner     TEXT NOT NULL,
    caller    TEXT NOT NULL,
    ready     INTEGER NOT NULL,         -- claimable jobs
    parked    INTEGER NOT NULL,         -- jobs with a start time in the future
    PRIMARY KEY (drain_key, priority, owner, caller)
) STRICT, WITHOUT ROWID;

INSERT INTO lines SELECT drain_key, priority, owner, caller, sum(ready_at IS NULL), sum(ready_at IS NOT NULL)
FROM jobs WHERE state = 'queued' GROUP BY 1, 2, 3, 4;
DROP TABLE lanes;
