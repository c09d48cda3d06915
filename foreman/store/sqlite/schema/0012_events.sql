-- Every page that a transaction changes is written to the log whole: two that each call can do without.

-- The writer gives the numbers of events; AUTOINCREMENT kept them once more, in a table and a page of its own.
CREATE TABLE new_events (
    seq      INTEGER PRIMARY KEY,       -- never used again: the note newest_event has it once its job is deleted
    job_id   TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
    state    TEXT NOT NULL,
    previous TEXT,
    at       REAL NOT NULL,
    attempt  INTEGER NOT NULL,
    error    TEXT,
    target   TEXT
) STRICT;
CREATE INDEX events_of_job ON new_events (job_id);  -- before the rows: SQLite then copies it instead of sorting

INSERT INTO new_events SELECT * FROM events;
INSERT INTO notes SELECT 'newest_event', CAST(seq AS TEXT) FROM sqlite_sequence
WHERE name = 'events' AND seq > (SELECT coalesce(max(seq), 0) FROM events);
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;

-- Few answers have more than some artifacts; these are found by their position as fast as by their name.
DROP INDEX artifacts_by_name;
CREATE INDEX artifacts_by_name ON artifacts (job_id, name) WHERE position >= 8;
