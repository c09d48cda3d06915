-- The index of words of requests and answers. A program that does not know it would not keep it.

ALTER TABLE fleet_state ADD COLUMN full_text text COLLATE "C" NOT NULL DEFAULT '';  -- how far it is; empty: off

CREATE TABLE texts (
    job_id text COLLATE "C" PRIMARY KEY,
    words  tsvector NOT NULL
);
CREATE INDEX texts_by_word ON texts USING gin (words) WITH (gin_pending_list_limit = 512);
