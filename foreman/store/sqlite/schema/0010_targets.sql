-- The target of a job's latest attempt, and of the attempt that an event tells of.
ALTER TABLE jobs ADD COLUMN target TEXT;
ALTER TABLE events ADD COLUMN target TEXT;
