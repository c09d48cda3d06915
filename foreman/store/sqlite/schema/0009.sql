-- A lane is a load key and a priority, whatever callers named the model.

CREATE TABLE merged_lanes (
    drain_key TEXT NOT NULL,
    priority  INTEGER NOT NULL,
    ready     INTEGER NOT NULL,         -- claimable jobs
    parked    INTEGER NOT NULL,         -- jobs with a start time in the future
    PRIMARY KEY (drain_key, priority)
) STRICT, WITHOUT ROWID;

INSERT INTO merged_lanes SELECT drain_key, priority, sum(ready), sum(parked) FROM lanes GROUP BY 1, 2;
DROP TABLE lanes;
ALTER TABLE merged_lanes RENAME TO lanes;
