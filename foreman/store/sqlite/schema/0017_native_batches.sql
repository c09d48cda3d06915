-- Batches of POST /jobs: they have a name, may be submitted again under their key, and one webhook tells of their end.

ALTER TABLE batches ADD COLUMN name TEXT;
ALTER TABLE batches ADD COLUMN webhook_url TEXT;
ALTER TABLE batches ADD COLUMN idempotency_key TEXT;
CREATE UNIQUE INDEX batches_by_key ON batches (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
