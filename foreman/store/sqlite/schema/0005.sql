-- Usage: what happened in every minute (step 60) and hour (step 3600), kept in the transactions in which it happened.

CREATE TABLE usage (
    step          INTEGER NOT NULL,     -- seconds
    at            INTEGER NOT NULL,     -- its beginning, seconds since the epoch
    model         TEXT NOT NULL,
    caller        TEXT NOT NULL,
    target        TEXT NOT NULL,
    endpoint      TEXT NOT NULL,
    submitted     INTEGER NOT NULL,
    done          INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    cancelled     INTEGER NOT NULL,
    expired       INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    answer_tokens INTEGER NOT NULL,
    loads         INTEGER NOT NULL,
    busy_seconds  REAL NOT NULL,
    -- How many jobs started after waits of up to 0.05, 0.1, 0.2, … seconds; the last one: after longer ones.
    wait_0  INTEGER NOT NULL, wait_1  INTEGER NOT NULL, wait_2  INTEGER NOT NULL, wait_3  INTEGER NOT NULL,
    wait_4  INTEGER NOT NULL, wait_5  INTEGER NOT NULL, wait_6  INTEGER NOT NULL, wait_7  INTEGER NOT NULL,
    wait_8  INTEGER NOT NULL, wait_9  INTEGER NOT NULL, wait_10 INTEGER NOT NULL, wait_11 INTEGER NOT NULL,
    wait_12 INTEGER NOT NULL, wait_13 INTEGER NOT NULL, wait_14 INTEGER NOT NULL, wait_15 INTEGER NOT NULL,
    wait_16 INTEGER NOT NULL, wait_17 INTEGER NOT NULL, wait_18 INTEGER NOT NULL, wait_19 INTEGER NOT NULL,
    wait_20 INTEGER NOT NULL, wait_21 INTEGER NOT NULL,
    PRIMARY KEY (step, at, model, caller, target, endpoint)
) STRICT, WITHOUT ROWID;

-- The depth of the queue in every step that has a change.
CREATE TABLE depths (
    step    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    first   INTEGER NOT NULL,           -- waiting when it began
    waiting INTEGER NOT NULL,           -- the most at once
    running INTEGER NOT NULL,
    PRIMARY KEY (step, at)
) STRICT, WITHOUT ROWID;

-- When counting began; nothing is known of the time before.
INSERT INTO notes (name, value) VALUES ('usage_since', strftime('%s', 'now'));
