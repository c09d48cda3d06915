-- A caller with a token of their own lists their own jobs.

CREATE INDEX jobs_by_owner ON jobs (owner, state) WHERE owner <> '';
