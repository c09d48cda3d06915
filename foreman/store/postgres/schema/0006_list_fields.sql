-- needs 5
-- What lists show of a job: what it asks, and what its answer took. NULL for jobs of before, and of older nodes.

ALTER TABLE jobs ADD COLUMN excerpt text COLLATE "C";   -- beginning of the prompt
ALTER TABLE jobs ADD COLUMN usage text COLLATE "C";     -- JSON list: tokens and times

-- Lists by target. Running jobs, which are few, are not in it: an entry is written once, at the end of the attempt.
CREATE INDEX jobs_by_target ON jobs (target, id) WHERE target IS NOT NULL AND state NOT IN ('loading', 'working');
