-- Finding jobs: every filter of a list has an index that ends in the job's id, so that the newest come first unsorted.

-- The server's own name of the model, whatever it was called at submission.
ALTER TABLE jobs ADD COLUMN canonical TEXT GENERATED ALWAYS AS (
    CASE WHEN instr(drain_key, ' {') THEN substr(drain_key, 1, instr(drain_key, ' {') - 1) ELSE drain_key END
) VIRTUAL;

CREATE INDEX jobs_by_canonical ON jobs (canonical, state);
CREATE INDEX jobs_by_alias ON jobs (model, state) WHERE model <> canonical;
CREATE INDEX jobs_by_endpoint ON jobs (endpoint, priority);
CREATE INDEX jobs_by_custom_id ON jobs (custom_id) WHERE custom_id IS NOT NULL;
CREATE INDEX jobs_by_error_code ON jobs (error_code) WHERE error_code IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (state, completed_at) WHERE completed_at IS NOT NULL;
