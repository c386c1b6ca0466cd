-- One account's mailbox: one encrypted file, so no table needs an account column. postgres.sql has the same tables with
-- account_id in front of every key; every statement of the store runs on both.
--
-- Row ids of messages are date-ordered: (unix seconds of INTERNALDATE << 22) | 22 bits; they are sort key and page cursor.
-- Row ids of folders and threads come from the counters in state. Times are Unix milliseconds. Booleans are 0 and 1.
-- JSON columns are NULL instead of empty lists.

CREATE TABLE state(                     -- one row
  one INTEGER PRIMARY KEY CHECK(one = 1),
  owner TEXT NOT NULL,                  -- the account this file belongs to: a swapped file is refused
  id_key BLOB NOT NULL,                 -- 32 bytes: what public ids are minted with, fixed when the mailbox was made
  seq INTEGER NOT NULL DEFAULT 0,       -- number of the last change
  min_seq INTEGER NOT NULL DEFAULT 1,   -- oldest change that is kept
  term INTEGER NOT NULL DEFAULT 0,      -- who holds an older one may not write
  next_folder INTEGER NOT NULL DEFAULT 1,
  next_thread INTEGER NOT NULL DEFAULT 1,
  messages INTEGER NOT NULL DEFAULT 0,  -- counts, kept by the store; these three also choose the index a list walks
  unread INTEGER NOT NULL DEFAULT 0,
  starred INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,      -- messages with a digest
  placements INTEGER NOT NULL DEFAULT 0, -- not vanished
  unheld INTEGER NOT NULL DEFAULT 0,    -- not vanished and not held
  vanished INTEGER NOT NULL DEFAULT 0,
  sync TEXT,                            -- JSON of the last mail.SyncStatus that was told
  sync_done INTEGER NOT NULL DEFAULT 0, -- the end of the initial sync was told
  running INTEGER NOT NULL DEFAULT 0,   -- a sync was begun and did not end: if there is none, the process died
  memory TEXT                           -- JSON: what the sync has learnt of the server; the sync alone knows its form
) STRICT;

CREATE TABLE folders(
  id INTEGER PRIMARY KEY,
  public TEXT NOT NULL UNIQUE,          -- mail.FolderID
  raw_name BLOB NOT NULL,               -- as the server spells it
  name TEXT NOT NULL,
  delimiter TEXT NOT NULL,
  role TEXT NOT NULL,
  attrs TEXT,                           -- JSON list
  parent TEXT NOT NULL,                 -- mail.FolderID, '' at the top
  selectable INTEGER NOT NULL,
  uidvalidity INTEGER NOT NULL,
  uidnext INTEGER NOT NULL,
  highestmodseq INTEGER NOT NULL,
  headers_done INTEGER NOT NULL,
  backfill_below INTEGER NOT NULL,
  total INTEGER NOT NULL DEFAULT 0,     -- kept by the store
  unread INTEGER NOT NULL DEFAULT 0,
  deleted_at INTEGER,                   -- gone at the server; the row stays, its number is never used again
  seq INTEGER NOT NULL                  -- of the last change
) STRICT;

CREATE TABLE messages(
  id INTEGER PRIMARY KEY,
  public BLOB NOT NULL UNIQUE,          -- 16 bytes, the keyed hash behind mail.MessageID
  fingerprint BLOB NOT NULL,            -- 16 bytes, before any digest was mixed in
  split INTEGER NOT NULL,               -- strong fingerprint, other bytes than the message that has its plain id
  draft INTEGER NOT NULL,               -- its Message-ID alone identifies it; the newest copy has the plain id
  digest BLOB,                          -- SHA-256 of the raw bytes; NULL until they are held
  thread_id INTEGER NOT NULL,
  thread_keys BLOB NOT NULL,            -- 12 bytes each: what this message contributes to threading
  thread_subject INTEGER NOT NULL,      -- hash of the folded base subject, lowest bit: a reply that names no parent; 0: no subject
  received_at INTEGER NOT NULL,         -- INTERNALDATE
  sent_at INTEGER,                      -- Date header
  header_id TEXT,                       -- Message-ID without <>
  in_reply_to TEXT,
  refs TEXT,                            -- JSON list
  subject TEXT NOT NULL,
  subject_key TEXT NOT NULL,            -- lower case, to look for parts of it
  addresses TEXT,                       -- JSON {"from":[{"name","email"}],"to","cc","bcc","reply_to","sender"}
  snippet TEXT NOT NULL,
  flags INTEGER NOT NULL,               -- over the placements: \Seen if on all, others if on any
  keywords TEXT,                        -- JSON list, union
  size INTEGER NOT NULL,
  parts TEXT,                           -- JSON list of mail.Part
  has_att INTEGER NOT NULL,             -- listed as attached
  raw_blob INTEGER,
  display_blob INTEGER,
  display_html INTEGER NOT NULL DEFAULT 0,
  body_state INTEGER NOT NULL,          -- mail.BodyState
  trouble TEXT,
  partial INTEGER NOT NULL DEFAULT 0,
  metadata TEXT,                        -- JSON object: what applications keep with the message
  seq INTEGER NOT NULL                  -- of the last change
) STRICT;
CREATE INDEX messages_thread ON messages(thread_id, id);
CREATE INDEX messages_subject ON messages(thread_subject, id) WHERE thread_subject <> 0;
CREATE INDEX messages_unread ON messages(id) WHERE flags & 1 = 0;
CREATE INDEX messages_starred ON messages(id) WHERE flags & 4 <> 0;
CREATE INDEX messages_drafts ON messages(id) WHERE flags & 8 <> 0;
CREATE INDEX messages_att ON messages(id) WHERE has_att = 1;
CREATE INDEX messages_split ON messages(fingerprint) WHERE split = 1;

CREATE TABLE message_addresses(         -- exact-address filters: one row per message, field and distinct address
  key INTEGER NOT NULL,                 -- keyed hash of the lower-case address; lowest 2 bits: 0 From, 1 To, 2 Cc, 3 Bcc
  message_id INTEGER NOT NULL,
  PRIMARY KEY(key, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE message_metadata(          -- metadata_pair filters: one row per indexed pair of a message
  key INTEGER NOT NULL,                 -- keyed hash of name and value
  message_id INTEGER NOT NULL,
  PRIMARY KEY(key, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_metadata_message ON message_metadata(message_id);

CREATE TABLE placements(
  folder_id INTEGER NOT NULL,
  uidvalidity INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  base INTEGER NOT NULL,                -- 0: a copy at the server; else a label: the copy with this UID in folder row base shows in this folder too
  message_id INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  keywords TEXT,                        -- JSON list
  modseq INTEGER NOT NULL,
  held INTEGER NOT NULL,                -- the bytes of this copy are known to be those of the message
  size INTEGER NOT NULL,                -- RFC822.SIZE
  internaldate INTEGER NOT NULL,
  vanished_at INTEGER,                  -- microseconds, as a pass may begin in the millisecond of what vanished before it; gone at the server, still part of the message until swept; -1: out of view
  trouble TEXT,                         -- why the bytes could not be fetched
  next_try INTEGER,
  PRIMARY KEY(folder_id, uidvalidity, uid, base)
) STRICT, WITHOUT ROWID;
CREATE INDEX placements_message ON placements(message_id);
CREATE INDEX placements_list ON placements(folder_id, message_id);
CREATE INDEX placements_unheld ON placements(folder_id, uid) WHERE held = 0 AND vanished_at IS NULL;
CREATE INDEX placements_vanished ON placements(vanished_at) WHERE vanished_at IS NOT NULL;
CREATE INDEX placements_trouble ON placements(next_try) WHERE trouble IS NOT NULL;
CREATE INDEX placements_labels ON placements(base, uidvalidity, uid) WHERE base <> 0;

CREATE TABLE threads(
  id INTEGER PRIMARY KEY,
  public BLOB NOT NULL,                 -- 12 bytes, the key behind mail.ThreadID; itself one of thread_keys
  first_id INTEGER NOT NULL,            -- oldest message
  last_id INTEGER NOT NULL,             -- newest message: sort key and page cursor
  n INTEGER NOT NULL,
  unread INTEGER NOT NULL,              -- number of messages without \Seen
  starred INTEGER NOT NULL,
  has_att INTEGER NOT NULL,
  lost INTEGER NOT NULL DEFAULT 0,      -- messages deleted from it: they may have been what holds it together
  seq INTEGER NOT NULL
) STRICT;
CREATE INDEX threads_last ON threads(last_id);
CREATE INDEX threads_unread ON threads(last_id) WHERE unread > 0;
CREATE INDEX threads_starred ON threads(last_id) WHERE starred > 0;
CREATE INDEX threads_att ON threads(last_id) WHERE has_att > 0;

CREATE TABLE thread_folders(
  thread_id INTEGER NOT NULL,
  folder_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL,             -- the thread's last_id, so that lists of folders have the cursor of all lists
  n INTEGER NOT NULL,                   -- messages of the thread in the folder
  PRIMARY KEY(thread_id, folder_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_folders_last ON thread_folders(folder_id, last_id);

CREATE TABLE thread_keys(
  key BLOB PRIMARY KEY,                 -- 12 bytes
  thread_id INTEGER NOT NULL,           -- 0: joins nothing, messages of different subjects claim this Message-ID
  owner INTEGER                         -- of the key of a Message-ID: thread_subject, without its lowest bit, of who has it; NULL: nobody yet
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_keys_thread ON thread_keys(thread_id);

CREATE TABLE changes(
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  object TEXT NOT NULL,                 -- public id
  data TEXT NOT NULL                    -- JSON of mail.ChangeData
) STRICT;

CREATE TABLE units(                     -- work of the sync: under way since the process died at its like, or set aside because it fails
  folder TEXT NOT NULL,                 -- mail.FolderID
  uidvalidity INTEGER NOT NULL,         -- 0: the folder itself, which has the UIDs 0
  first_uid INTEGER NOT NULL,
  last_uid INTEGER NOT NULL,
  under_way INTEGER NOT NULL,
  deaths INTEGER NOT NULL,              -- of the process while it was under way
  attempts INTEGER NOT NULL,
  since INTEGER NOT NULL,
  next_try INTEGER,                     -- of what is set aside
  reason TEXT NOT NULL,                 -- '' unless it is set aside
  PRIMARY KEY(folder, uidvalidity, first_uid, last_uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE bounces(                   -- reports that mail could not be delivered
  report BLOB PRIMARY KEY,              -- public id of the message that is the report
  header_id TEXT NOT NULL,              -- Message-ID of what could not be delivered
  at INTEGER NOT NULL,
  told INTEGER NOT NULL                 -- 0: what it names was not among the sent messages so far
) STRICT;
CREATE INDEX bounces_waiting ON bounces(header_id) WHERE told = 0;

CREATE TABLE tracked(                   -- sent messages of which replies, openings or clicks are told
  header_id TEXT PRIMARY KEY,           -- Message-ID
  public BLOB NOT NULL,                 -- public id of the message
  options TEXT NOT NULL,                -- JSON of mail.Tracking
  replies INTEGER NOT NULL,             -- so far
  token TEXT,                           -- in the addresses of its picture and links
  visits TEXT                           -- JSON of mail.Visits
) STRICT;
CREATE UNIQUE INDEX tracked_public ON tracked(public);
CREATE UNIQUE INDEX tracked_token ON tracked(token) WHERE token IS NOT NULL;

CREATE TABLE operations(                -- what applications asked for, until a while after its end
  id INTEGER PRIMARY KEY,
  public TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,                  -- mail.OpState
  raw_blob INTEGER,                     -- the message to be written; NULL at the end
  created_at INTEGER NOT NULL,
  next_try INTEGER NOT NULL,            -- of a pending one; of an ended one: when it ended
  data TEXT NOT NULL                    -- JSON of mail.Operation
) STRICT;
CREATE INDEX operations_pending ON operations(next_try) WHERE state = 'pending';

CREATE TABLE outbox(                    -- what applications send, until a while after its end
  id INTEGER PRIMARY KEY,               -- order of acceptance
  public TEXT NOT NULL UNIQUE,
  key TEXT UNIQUE,                      -- Idempotency-Key, NULL when there is none any more
  draft TEXT,                           -- mail.MessageID of the draft that it was
  state TEXT NOT NULL,                  -- mail.SendState
  version INTEGER NOT NULL,             -- counts the writes
  raw_blob INTEGER,                     -- the message; NULL once it was released
  created_at INTEGER NOT NULL,
  next_try INTEGER NOT NULL,            -- of an open one: not before
  ended_at INTEGER,                     -- NULL while it is open
  data TEXT NOT NULL                    -- JSON of mail.Send
) STRICT;
CREATE INDEX outbox_open ON outbox(next_try) WHERE ended_at IS NULL;
CREATE INDEX outbox_ended ON outbox(ended_at) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX outbox_draft ON outbox(draft) WHERE ended_at IS NULL AND draft IS NOT NULL;
