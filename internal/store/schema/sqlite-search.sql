-- One account's search index. It is made from the mailbox and can be dropped and made again at any time. The file is not
-- encrypted: what is in its blocks is sealed with the account's key.

CREATE TABLE search_state(              -- one row
  one INTEGER PRIMARY KEY CHECK(one = 1),
  owner TEXT NOT NULL,                  -- the account this file belongs to
  version INTEGER NOT NULL,             -- of terms and blocks; another one than the program's: the index is made again. 0 nothing yet
  cursor INTEGER NOT NULL,              -- changes up to it are in the index
  below INTEGER NOT NULL,               -- messages with rows below it were there before the index and are still to be taken; 0 none
  docs INTEGER NOT NULL,                -- messages in the index
  next_unit INTEGER NOT NULL
) STRICT;

CREATE TABLE search_segments(           -- what is known of a set of messages; never changed but for dead ones
  id INTEGER PRIMARY KEY,               -- a unit
  docs INTEGER NOT NULL,                -- with dead ones
  dead INTEGER NOT NULL,
  dead_list BLOB                        -- sealed; NULL without any
) STRICT;

CREATE TABLE search_blocks(
  id INTEGER PRIMARY KEY,               -- unit << 20 | number
  data BLOB NOT NULL                    -- sealed
) STRICT;
