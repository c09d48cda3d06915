-- The jobs in the index of words, which Foreman makes beside this table when the setting full_text is on.
CREATE TABLE texts (
    number INTEGER PRIMARY KEY,     -- of the row in the index: as the job ids sort
    job_id TEXT NOT NULL UNIQUE
) STRICT;
