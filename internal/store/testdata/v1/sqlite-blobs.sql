-- One account's blobs. The file is not encrypted: every chunk is sealed by itself with the account's key.
-- Chunks hold at most 256 KiB of plain bytes; row id of a chunk = blob id << 16 | n.

CREATE TABLE blob_state(                -- one row
  one INTEGER PRIMARY KEY CHECK(one = 1),
  owner TEXT NOT NULL,                  -- the account this file belongs to
  next_blob INTEGER NOT NULL            -- ids below it may be in use and are never given out again
) STRICT;

CREATE TABLE blobs(
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,                -- BlobKind
  size INTEGER NOT NULL,                -- plain bytes; -1 while being written
  chunks INTEGER NOT NULL,
  lengths BLOB,                         -- sealed length of each chunk, 4 bytes each: only when the chunks lie in an object store
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE chunks(
  id INTEGER PRIMARY KEY,
  data BLOB NOT NULL
) STRICT;
