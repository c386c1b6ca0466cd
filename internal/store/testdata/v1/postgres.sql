-- Everything in one PostgreSQL schema: the tables of sqlite-control.sql, then those of sqlite-mail.sql and sqlite-blobs.sql
-- with account_id leading every key, so that they distribute by account.

CREATE TABLE meta(                      -- schema_version, keyring
  key text PRIMARY KEY,
  value text NOT NULL
);

CREATE TABLE apps(
  id uuid PRIMARY KEY,
  name text NOT NULL,
  event_seq bigint NOT NULL DEFAULT 0, -- number of the last grant event
  feed_pos bigint NOT NULL DEFAULT 0,   -- of the last row of feed
  feed_min bigint NOT NULL DEFAULT 1,   -- rows from here on are kept
  details text,                         -- JSON of AppDetails
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);

CREATE TABLE api_keys(
  id text PRIMARY KEY,
  app_id uuid NOT NULL,
  name text NOT NULL,
  hash bytea NOT NULL UNIQUE,            -- SHA-256 of the key
  created_at bigint NOT NULL
);

CREATE TABLE redirect_uris(             -- where an application's users may be sent with a code
  id text PRIMARY KEY,
  app_id uuid NOT NULL,
  url text NOT NULL,
  platform text NOT NULL,
  settings text,                        -- JSON, opaque
  created_at bigint NOT NULL
);
CREATE UNIQUE INDEX redirect_uris_url ON redirect_uris(app_id, url, platform);

CREATE TABLE tokens(                    -- codes, access and refresh tokens, each for one account
  hash bytea PRIMARY KEY,               -- SHA-256 of the token
  kind text NOT NULL,                   -- TokenKind
  app_id uuid NOT NULL,
  account_id uuid NOT NULL,
  family text NOT NULL,                 -- those of one login end together
  data text NOT NULL,                   -- JSON of TokenData
  created_at bigint NOT NULL,
  expires_at bigint,
  used_at bigint                          -- of a code
);
CREATE INDEX tokens_account ON tokens(account_id);
CREATE INDEX tokens_family ON tokens(family);
CREATE INDEX tokens_expires ON tokens(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE answers(                   -- to requests with an Idempotency-Key, for an hour
  name bytea PRIMARY KEY,               -- SHA-256 of the key and whose it is
  app_id uuid NOT NULL,
  account_id uuid,                      -- NULL: about the application
  request bytea NOT NULL,               -- SHA-256
  status bigint,                        -- HTTP; NULL: not ended
  wrapped bytea,                        -- key of the next, wrapped by the master key
  sealed bytea,
  created_at bigint NOT NULL
);
CREATE INDEX answers_account ON answers(account_id);
CREATE INDEX answers_created ON answers(created_at);

CREATE TABLE accounts(
  id uuid PRIMARY KEY,
  app_id uuid NOT NULL,
  email text NOT NULL,
  email_key text NOT NULL,              -- lower case
  name text NOT NULL,
  provider text NOT NULL,
  settings text NOT NULL,               -- JSON of mail.Settings
  scope text,                           -- JSON list
  state text NOT NULL,                  -- opaque to us
  sync_state text NOT NULL,
  sync_since bigint,
  sync_reason text NOT NULL,
  sync_action text NOT NULL,
  fresh_at bigint,
  seen_at bigint,
  audited_at bigint,
  moved text,                           -- JSON list: bytes moved in each of 24 hours, then the last hour in hours of Unix time
  sync_done bigint NOT NULL,
  sync_total bigint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);
CREATE UNIQUE INDEX accounts_email ON accounts(app_id, email_key, provider);
CREATE INDEX accounts_created ON accounts(app_id, created_at, id);

CREATE TABLE account_keys(              -- data keys, wrapped by the master key
  account_id uuid NOT NULL,
  version bigint NOT NULL,
  kek_id text NOT NULL,
  wrapped bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY(account_id, version)
);

CREATE TABLE account_secrets(           -- sealed with the account's data key
  account_id uuid NOT NULL,
  name text NOT NULL,
  sealed bytea NOT NULL,
  updated_at bigint NOT NULL,
  PRIMARY KEY(account_id, name)
);

CREATE TABLE webhooks(
  id text PRIMARY KEY,
  app_id uuid NOT NULL,
  url text NOT NULL,
  description text NOT NULL,
  triggers text NOT NULL,               -- JSON list
  emails text,                          -- JSON list
  compressed bigint NOT NULL,
  status text NOT NULL,                 -- WebhookStatus
  reason text NOT NULL,                 -- of the status
  status_at bigint NOT NULL,
  since bigint NOT NULL,               -- accounts without a cursor begin with the changes from here on
  failing_since bigint,                -- first failed delivery after the last good one
  kek_id text NOT NULL,
  wrapped bytea NOT NULL,                -- key of the secrets, wrapped by the master key
  secret bytea NOT NULL,                 -- sealed with it, like the next
  old_secret bytea,
  old_until bigint,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);
CREATE INDEX webhooks_app ON webhooks(app_id, created_at, id);

CREATE TABLE webhook_cursors(           -- how far a webhook was told of an account, or of the application (then account_id is its id)
  webhook_id text NOT NULL,
  account_id uuid NOT NULL,
  seq bigint NOT NULL,                 -- last change that is done with
  attempts bigint NOT NULL,            -- failed ones of the next change
  first_at bigint,                     -- of them
  next_at bigint,                      -- not again before
  PRIMARY KEY(webhook_id, account_id)
);
CREATE INDEX webhook_cursors_account ON webhook_cursors(account_id);

CREATE TABLE webhook_deliveries(        -- every attempt
  webhook_id text NOT NULL,
  at bigint NOT NULL,                  -- Unix nanoseconds, each once
  account_id uuid NOT NULL,
  seq bigint NOT NULL,
  notification text NOT NULL,           -- id, the same on every attempt
  type text NOT NULL,
  attempt bigint NOT NULL,
  status bigint NOT NULL,              -- HTTP; 0 no answer
  ms bigint NOT NULL,
  error text NOT NULL,                  -- '' for success
  PRIMARY KEY(webhook_id, at)
);
CREATE INDEX webhook_deliveries_account ON webhook_deliveries(account_id);
CREATE INDEX webhook_deliveries_at ON webhook_deliveries(at);

CREATE TABLE webhook_replays(           -- what is told a webhook once more
  id text PRIMARY KEY,
  webhook_id text NOT NULL,
  account_id text NOT NULL,             -- whose log; '': the application's feed
  object text NOT NULL,                 -- only of this one; '': all
  state text NOT NULL,                  -- ReplayState
  reason text NOT NULL,                 -- of the state
  start text NOT NULL,                  -- JSON of Place
  place text NOT NULL,                  -- JSON of Place: up to where it is done
  goal text NOT NULL,                   -- JSON of Place: where it ends
  sent bigint NOT NULL,
  attempts bigint NOT NULL,             -- failed ones of the next notification
  next_at bigint,                       -- not again before
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);
CREATE INDEX webhook_replays_webhook ON webhook_replays(webhook_id, created_at, id);

CREATE TABLE feed(                      -- one order over the logs of an application's accounts, in which /v3/events tells them
  app_id uuid NOT NULL,
  pos bigint NOT NULL,                  -- ascending
  at bigint NOT NULL,                   -- never falling
  account_id uuid NOT NULL,             -- or the application's id: grant_events
  from_seq bigint NOT NULL,
  to_seq bigint NOT NULL,
  PRIMARY KEY(app_id, pos)
);
CREATE INDEX feed_account ON feed(account_id, from_seq);
CREATE INDEX feed_at ON feed(app_id, at);

CREATE TABLE feed_logs(                 -- how much of a log is in the feed
  account_id uuid PRIMARY KEY,
  app_id uuid NOT NULL,
  seq bigint NOT NULL
);

CREATE TABLE grant_events(              -- accounts that came and went, which no account's own log can tell
  app_id uuid NOT NULL,
  seq bigint NOT NULL,                 -- counts from 1 for each application, without holes
  at bigint NOT NULL,
  kind text NOT NULL,                   -- created or deleted
  account_id uuid NOT NULL,
  provider text NOT NULL,
  PRIMARY KEY(app_id, seq)
);

-- Mailboxes.

CREATE TABLE state(                     -- one row an account
  account_id uuid NOT NULL,
  id_key bytea NOT NULL,                -- 32 bytes: what public ids are minted with, fixed when the mailbox was made
  seq bigint NOT NULL DEFAULT 0,        -- number of the last change
  min_seq bigint NOT NULL DEFAULT 1,    -- oldest change that is kept
  term bigint NOT NULL DEFAULT 0,       -- who holds an older one may not write
  next_folder bigint NOT NULL DEFAULT 1,
  next_thread bigint NOT NULL DEFAULT 1,
  messages bigint NOT NULL DEFAULT 0,   -- counts, kept by the store; these three also choose the index a list walks
  unread bigint NOT NULL DEFAULT 0,
  starred bigint NOT NULL DEFAULT 0,
  held bigint NOT NULL DEFAULT 0,       -- messages with a digest
  placements bigint NOT NULL DEFAULT 0, -- not vanished
  unheld bigint NOT NULL DEFAULT 0,     -- not vanished and not held
  vanished bigint NOT NULL DEFAULT 0,
  sync text,                            -- JSON of the last mail.SyncStatus that was told
  sync_done bigint NOT NULL DEFAULT 0,  -- the end of the initial sync was told
  running bigint NOT NULL DEFAULT 0,    -- a sync was begun and did not end: if there is none, the process died
  memory text,                          -- JSON: what the sync has learnt of the server; the sync alone knows its form
  PRIMARY KEY(account_id)
) WITH (fillfactor=85);

CREATE TABLE folders(
  account_id uuid NOT NULL,
  id bigint NOT NULL,
  public text NOT NULL,                 -- mail.FolderID
  raw_name bytea NOT NULL,              -- as the server spells it
  name text NOT NULL,
  delimiter text NOT NULL,
  role text NOT NULL,
  attrs text,                           -- JSON list
  parent text NOT NULL,                 -- mail.FolderID, '' at the top
  selectable bigint NOT NULL,
  uidvalidity bigint NOT NULL,
  uidnext bigint NOT NULL,
  highestmodseq bigint NOT NULL,
  headers_done bigint NOT NULL,
  backfill_below bigint NOT NULL,
  total bigint NOT NULL DEFAULT 0,      -- kept by the store
  unread bigint NOT NULL DEFAULT 0,
  deleted_at bigint,                    -- gone at the server; the row stays, its number is never used again
  seq bigint NOT NULL,                  -- of the last change
  PRIMARY KEY(account_id, id),
  UNIQUE(account_id, public)
) WITH (fillfactor=85);

CREATE TABLE messages(
  account_id uuid NOT NULL,
  id bigint NOT NULL,
  public bytea NOT NULL,                -- 16 bytes, the keyed hash behind mail.MessageID
  fingerprint bytea NOT NULL,           -- 16 bytes, before any digest was mixed in
  split bigint NOT NULL,                -- strong fingerprint, other bytes than the message that has its plain id
  draft bigint NOT NULL,                -- its Message-ID alone identifies it; the newest copy has the plain id
  digest bytea,                         -- SHA-256 of the raw bytes; NULL until they are held
  thread_id bigint NOT NULL,
  thread_keys bytea NOT NULL,           -- 12 bytes each: what this message contributes to threading
  thread_subject bigint NOT NULL,       -- hash of the folded base subject, lowest bit: a reply that names no parent; 0: no subject
  received_at bigint NOT NULL,          -- INTERNALDATE
  sent_at bigint,                       -- Date header
  header_id text,                       -- Message-ID without <>
  in_reply_to text,
  refs text,                            -- JSON list
  subject text NOT NULL,
  subject_key text NOT NULL,            -- lower case, to look for parts of it
  addresses text,                       -- JSON {"from":[{"name","email"}],"to","cc","bcc","reply_to","sender"}
  snippet text NOT NULL,
  flags bigint NOT NULL,                -- over the placements: \Seen if on all, others if on any
  keywords text,                        -- JSON list, union
  size bigint NOT NULL,
  parts text,                           -- JSON list of mail.Part
  has_att bigint NOT NULL,              -- listed as attached
  raw_blob bigint,
  display_blob bigint,
  display_html bigint NOT NULL DEFAULT 0,
  body_state bigint NOT NULL,           -- mail.BodyState
  trouble text,
  partial bigint NOT NULL DEFAULT 0,
  metadata text,                        -- JSON object: what applications keep with the message
  seq bigint NOT NULL,                  -- of the last change
  PRIMARY KEY(account_id, id),
  UNIQUE(account_id, public)
) WITH (fillfactor=85);
CREATE INDEX messages_thread ON messages(account_id, thread_id, id);
CREATE INDEX messages_subject ON messages(account_id, thread_subject, id) WHERE thread_subject <> 0;
CREATE INDEX messages_unread ON messages(account_id, id) WHERE flags & 1 = 0;
CREATE INDEX messages_starred ON messages(account_id, id) WHERE flags & 4 <> 0;
CREATE INDEX messages_drafts ON messages(account_id, id) WHERE flags & 8 <> 0;
CREATE INDEX messages_att ON messages(account_id, id) WHERE has_att = 1;
CREATE INDEX messages_split ON messages(account_id, fingerprint) WHERE split = 1;

CREATE TABLE message_addresses(         -- exact-address filters: one row per message, field and distinct address
  account_id uuid NOT NULL,
  key bigint NOT NULL,                  -- keyed hash of the lower-case address; lowest 2 bits: 0 From, 1 To, 2 Cc, 3 Bcc
  message_id bigint NOT NULL,
  PRIMARY KEY(account_id, key, message_id)
);

CREATE TABLE message_metadata(          -- metadata_pair filters: one row per indexed pair of a message
  account_id uuid NOT NULL,
  key bigint NOT NULL,                  -- keyed hash of name and value
  message_id bigint NOT NULL,
  PRIMARY KEY(account_id, key, message_id)
);
CREATE INDEX message_metadata_message ON message_metadata(account_id, message_id);

CREATE TABLE placements(
  account_id uuid NOT NULL,
  folder_id bigint NOT NULL,
  uidvalidity bigint NOT NULL,
  uid bigint NOT NULL,
  base bigint NOT NULL,                -- 0: a copy at the server; else a label: the copy with this UID in folder row base shows in this folder too
  message_id bigint NOT NULL,
  flags bigint NOT NULL,
  keywords text,                        -- JSON list
  modseq bigint NOT NULL,
  held bigint NOT NULL,                 -- the bytes of this copy are known to be those of the message
  size bigint NOT NULL,                 -- RFC822.SIZE
  internaldate bigint NOT NULL,
  vanished_at bigint,                   -- microseconds, as a pass may begin in the millisecond of what vanished before it; gone at the server, still part of the message until swept; -1: out of view
  trouble text,                         -- why the bytes could not be fetched
  next_try bigint,
  PRIMARY KEY(account_id, folder_id, uidvalidity, uid, base)
) WITH (fillfactor=85);
CREATE INDEX placements_message ON placements(account_id, message_id);
CREATE INDEX placements_list ON placements(account_id, folder_id, message_id);
CREATE INDEX placements_unheld ON placements(account_id, folder_id, uid) WHERE held = 0 AND vanished_at IS NULL;
CREATE INDEX placements_vanished ON placements(account_id, vanished_at) WHERE vanished_at IS NOT NULL;
CREATE INDEX placements_trouble ON placements(account_id, next_try) WHERE trouble IS NOT NULL;
CREATE INDEX placements_labels ON placements(account_id, base, uidvalidity, uid) WHERE base <> 0;

CREATE TABLE threads(
  account_id uuid NOT NULL,
  id bigint NOT NULL,
  public bytea NOT NULL,                -- 12 bytes, the key behind mail.ThreadID; itself one of thread_keys
  first_id bigint NOT NULL,             -- oldest message
  last_id bigint NOT NULL,              -- newest message: sort key and page cursor
  n bigint NOT NULL,
  unread bigint NOT NULL,               -- number of messages without \Seen
  starred bigint NOT NULL,
  has_att bigint NOT NULL,
  lost bigint NOT NULL DEFAULT 0,       -- messages deleted from it: they may have been what holds it together
  seq bigint NOT NULL,
  PRIMARY KEY(account_id, id)
);
CREATE INDEX threads_last ON threads(account_id, last_id);
CREATE INDEX threads_unread ON threads(account_id, last_id) WHERE unread > 0;
CREATE INDEX threads_starred ON threads(account_id, last_id) WHERE starred > 0;
CREATE INDEX threads_att ON threads(account_id, last_id) WHERE has_att > 0;

CREATE TABLE thread_folders(
  account_id uuid NOT NULL,
  thread_id bigint NOT NULL,
  folder_id bigint NOT NULL,
  last_id bigint NOT NULL,              -- the thread's last_id, so that lists of folders have the cursor of all lists
  n bigint NOT NULL,                    -- messages of the thread in the folder
  PRIMARY KEY(account_id, thread_id, folder_id)
);
CREATE INDEX thread_folders_last ON thread_folders(account_id, folder_id, last_id);

CREATE TABLE thread_keys(
  account_id uuid NOT NULL,
  key bytea NOT NULL,                   -- 12 bytes
  thread_id bigint NOT NULL,            -- 0: joins nothing, messages of different subjects claim this Message-ID
  owner bigint,                         -- of the key of a Message-ID: thread_subject, without its lowest bit, of who has it; NULL: nobody yet
  PRIMARY KEY(account_id, key)
);
CREATE INDEX thread_keys_thread ON thread_keys(account_id, thread_id);

CREATE TABLE changes(
  account_id uuid NOT NULL,
  seq bigint NOT NULL,
  at bigint NOT NULL,
  kind bigint NOT NULL,
  origin bigint NOT NULL,
  object text NOT NULL,                 -- public id
  data text NOT NULL,                   -- JSON of mail.ChangeData
  PRIMARY KEY(account_id, seq)
);

-- Blobs: sealed chunks, unless an object store keeps them.

CREATE TABLE blob_state(                -- one row an account
  account_id uuid NOT NULL,
  next_blob bigint NOT NULL,            -- ids below it may be in use and are never given out again
  PRIMARY KEY(account_id)
);

CREATE TABLE blobs(
  account_id uuid NOT NULL,
  id bigint NOT NULL,
  kind bigint NOT NULL,                 -- BlobKind
  size bigint NOT NULL,                 -- plain bytes; -1 while being written
  chunks bigint NOT NULL,
  lengths bytea,                        -- sealed length of each chunk, 4 bytes each: only when the chunks lie in an object store
  created_at bigint NOT NULL,
  PRIMARY KEY(account_id, id)
);

CREATE TABLE chunks(
  account_id uuid NOT NULL,
  id bigint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY(account_id, id)
);

CREATE TABLE units(                     -- work of the sync: under way since the process died at its like, or set aside because it fails
  account_id uuid NOT NULL,
  folder text NOT NULL,                 -- mail.FolderID
  uidvalidity bigint NOT NULL,          -- 0: the folder itself, which has the UIDs 0
  first_uid bigint NOT NULL,
  last_uid bigint NOT NULL,
  under_way bigint NOT NULL,
  deaths bigint NOT NULL,               -- of the process while it was under way
  attempts bigint NOT NULL,
  since bigint NOT NULL,
  next_try bigint,                      -- of what is set aside
  reason text NOT NULL,                 -- '' unless it is set aside
  PRIMARY KEY(account_id, folder, uidvalidity, first_uid, last_uid)
);

CREATE TABLE bounces(                   -- reports that mail could not be delivered
  account_id uuid NOT NULL,
  report bytea NOT NULL,                -- public id of the message that is the report
  header_id text NOT NULL,              -- Message-ID of what could not be delivered
  at bigint NOT NULL,
  told bigint NOT NULL,                 -- 0: what it names was not among the sent messages so far
  PRIMARY KEY(account_id, report)
);
CREATE INDEX bounces_waiting ON bounces(account_id, header_id) WHERE told = 0;

CREATE TABLE tracked(                   -- sent messages of which replies, openings or clicks are told
  account_id uuid NOT NULL,
  header_id text NOT NULL,              -- Message-ID
  public bytea NOT NULL,                -- public id of the message
  options text NOT NULL,                -- JSON of mail.Tracking
  replies bigint NOT NULL,              -- so far
  token text,                           -- in the addresses of its picture and links
  visits text,                          -- JSON of mail.Visits
  PRIMARY KEY(account_id, header_id)
);
CREATE UNIQUE INDEX tracked_public ON tracked(account_id, public);
CREATE UNIQUE INDEX tracked_token ON tracked(account_id, token) WHERE token IS NOT NULL;

CREATE TABLE operations(                -- what applications asked for, until a while after its end
  account_id uuid NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  public text NOT NULL,
  state text NOT NULL,                  -- mail.OpState
  raw_blob bigint,                      -- the message to be written; NULL at the end
  created_at bigint NOT NULL,
  next_try bigint NOT NULL,             -- of a pending one; of an ended one: when it ended
  data text NOT NULL,                   -- JSON of mail.Operation
  PRIMARY KEY(account_id, id),
  UNIQUE(account_id, public)
);
CREATE INDEX operations_pending ON operations(account_id, next_try) WHERE state = 'pending';

CREATE TABLE outbox(                    -- what applications send, until a while after its end
  account_id uuid NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY, -- order of acceptance
  public text NOT NULL,
  key text,                             -- Idempotency-Key, NULL when there is none any more
  draft text,                           -- mail.MessageID of the draft that it was
  state text NOT NULL,                  -- mail.SendState
  version bigint NOT NULL,              -- counts the writes
  raw_blob bigint,                      -- the message; NULL once it was released
  created_at bigint NOT NULL,
  next_try bigint NOT NULL,             -- of an open one: not before
  ended_at bigint,                      -- NULL while it is open
  data text NOT NULL,                   -- JSON of mail.Send
  PRIMARY KEY(account_id, id),
  UNIQUE(account_id, public),
  UNIQUE(account_id, key)
);
CREATE INDEX outbox_open ON outbox(account_id, next_try) WHERE ended_at IS NULL;
CREATE INDEX outbox_ended ON outbox(account_id, ended_at) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX outbox_draft ON outbox(account_id, draft) WHERE ended_at IS NULL AND draft IS NOT NULL;

-- Search index: made from the mailbox, and sealed with the account's key.

CREATE TABLE search_state(              -- one row an account
  account_id uuid NOT NULL,
  version bigint NOT NULL,              -- of terms and blocks; another one than the program's: the index is made again. 0 nothing yet
  cursor bigint NOT NULL,               -- changes up to it are in the index
  below bigint NOT NULL,                -- messages with rows below it were there before the index and are still to be taken; 0 none
  docs bigint NOT NULL,                 -- messages in the index
  next_unit bigint NOT NULL,
  PRIMARY KEY(account_id)
);

CREATE TABLE search_segments(           -- what is known of a set of messages; never changed but for dead ones
  account_id uuid NOT NULL,
  id bigint NOT NULL,                   -- a unit
  docs bigint NOT NULL,                 -- with dead ones
  dead bigint NOT NULL,
  dead_list bytea,                      -- sealed; NULL without any
  PRIMARY KEY(account_id, id)
);

CREATE TABLE search_blocks(
  account_id uuid NOT NULL,
  id bigint NOT NULL,                   -- unit << 20 | number
  data bytea NOT NULL,                  -- sealed
  PRIMARY KEY(account_id, id)
);
