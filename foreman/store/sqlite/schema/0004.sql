-- An idempotency key is its owner's; an answer may have a length that is known beforehand.

DROP INDEX jobs_by_idempotency_key;
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;

ALTER TABLE jobs ADD COLUMN most_tokens INTEGER;
