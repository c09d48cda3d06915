-- Deliveries are shared out among callers: whose each is, and an index that finds what is due caller by caller.

ALTER TABLE deliveries ADD COLUMN owner TEXT NOT NULL DEFAULT '';   -- of the job

UPDATE deliveries SET owner = (SELECT owner FROM jobs WHERE id = job_id)
WHERE EXISTS (SELECT 1 FROM jobs WHERE id = job_id AND owner <> '');

DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (owner, receiver, due_at, seq) WHERE state = 'due';
