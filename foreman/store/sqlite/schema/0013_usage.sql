-- The figures of hours are stored newest first (`at` is negative), so that those of the newest minute and hour share a
-- page: each transaction writes both.

UPDATE usage SET at = -at WHERE step = 3600;
