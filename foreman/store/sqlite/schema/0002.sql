-- Whose job it is: the name of the token that submitted it.

ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
