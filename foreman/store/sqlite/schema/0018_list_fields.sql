-- What lists show of a job: what it asks, and what its answer took. NULL for jobs of before.

ALTER TABLE jobs ADD COLUMN excerpt TEXT;   -- beginning of the prompt
ALTER TABLE jobs ADD COLUMN usage TEXT;     -- JSON list: tokens and times

-- Lists by target. Running jobs, which are few, are not in it: an entry is written once, at the end of the attempt.
CREATE INDEX jobs_by_target ON jobs (target) WHERE target IS NOT NULL AND state NOT IN ('loading', 'working');

-- Lists by metadata: in the order of lists, and read without the rows of the table, which are many times larger.
CREATE INDEX jobs_by_metadata ON jobs (id, metadata) WHERE metadata IS NOT NULL;
