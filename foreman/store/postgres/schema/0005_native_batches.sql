-- Batches of POST /jobs: they have a name, may be submitted again under their key, and one webhook tells of their end.
-- A program that does not know them could not feed them.

ALTER TABLE batches ADD COLUMN name text COLLATE "C";
ALTER TABLE batches ADD COLUMN webhook_url text COLLATE "C";
ALTER TABLE batches ADD COLUMN idempotency_key text COLLATE "C";
CREATE UNIQUE INDEX batches_by_key ON batches (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
