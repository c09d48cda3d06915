-- An artifact is fetched by its name: an answer may have hundreds.

CREATE INDEX artifacts_by_name ON artifacts (job_id, name);
