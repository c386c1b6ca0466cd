-- What is not one account's mail: applications, API keys, accounts and their keys, webhooks. One encrypted file.
-- Times are Unix milliseconds. postgres.sql has the same tables.

CREATE TABLE apps(
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  event_seq INTEGER NOT NULL DEFAULT 0, -- number of the last grant event
  feed_pos INTEGER NOT NULL DEFAULT 0,  -- of the last row of feed
  feed_min INTEGER NOT NULL DEFAULT 1,  -- rows from here on are kept
  details TEXT,                         -- JSON of AppDetails
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys(
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  name TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,            -- SHA-256 of the key
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE redirect_uris(             -- where an application's users may be sent with a code
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  url TEXT NOT NULL,
  platform TEXT NOT NULL,
  settings TEXT,                        -- JSON, opaque
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX redirect_uris_url ON redirect_uris(app_id, url, platform);

CREATE TABLE tokens(                    -- codes, access and refresh tokens, each for one account
  hash BLOB PRIMARY KEY,               -- SHA-256 of the token
  kind TEXT NOT NULL,                   -- TokenKind
  app_id TEXT NOT NULL,
  account_id TEXT NOT NULL,
  family TEXT NOT NULL,                 -- those of one login end together
  data TEXT NOT NULL,                   -- JSON of TokenData
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  used_at INTEGER                          -- of a code
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_account ON tokens(account_id);
CREATE INDEX tokens_family ON tokens(family);
CREATE INDEX tokens_expires ON tokens(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE answers(                   -- to requests with an Idempotency-Key, for an hour
  name BLOB PRIMARY KEY,                -- SHA-256 of the key and whose it is
  app_id TEXT NOT NULL,
  account_id TEXT,                      -- NULL: about the application
  request BLOB NOT NULL,                -- SHA-256
  status INTEGER,                       -- HTTP; NULL: not ended
  wrapped BLOB,                         -- key of the next, wrapped by the master key
  sealed BLOB,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_account ON answers(account_id);
CREATE INDEX answers_created ON answers(created_at);

CREATE TABLE accounts(
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  email TEXT NOT NULL,
  email_key TEXT NOT NULL,              -- lower case
  name TEXT NOT NULL,
  provider TEXT NOT NULL,
  settings TEXT NOT NULL,               -- JSON of mail.Settings
  scope TEXT,                           -- JSON list
  state TEXT NOT NULL,                  -- opaque to us
  sync_state TEXT NOT NULL,
  sync_since INTEGER,
  sync_reason TEXT NOT NULL,
  sync_action TEXT NOT NULL,
  fresh_at INTEGER,
  seen_at INTEGER,
  audited_at INTEGER,
  moved TEXT,                           -- JSON list: bytes moved in each of 24 hours, then the last hour in hours of Unix time
  sync_done INTEGER NOT NULL,
  sync_total INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX accounts_email ON accounts(app_id, email_key, provider);
CREATE INDEX accounts_created ON accounts(app_id, created_at, id);

CREATE TABLE account_keys(              -- data keys, wrapped by the master key
  account_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  kek_id TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY(account_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_secrets(           -- sealed with the account's data key
  account_id TEXT NOT NULL,
  name TEXT NOT NULL,
  sealed BLOB NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY(account_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks(
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  triggers TEXT NOT NULL,               -- JSON list
  emails TEXT,                          -- JSON list
  compressed INTEGER NOT NULL,
  status TEXT NOT NULL,                 -- WebhookStatus
  reason TEXT NOT NULL,                 -- of the status
  status_at INTEGER NOT NULL,
  since INTEGER NOT NULL,               -- accounts without a cursor begin with the changes from here on
  failing_since INTEGER,                -- first failed delivery after the last good one
  kek_id TEXT NOT NULL,
  wrapped BLOB NOT NULL,                -- key of the secrets, wrapped by the master key
  secret BLOB NOT NULL,                 -- sealed with it, like the next
  old_secret BLOB,
  old_until INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_app ON webhooks(app_id, created_at, id);

CREATE TABLE webhook_cursors(           -- how far a webhook was told of an account, or of the application (then account_id is its id)
  webhook_id TEXT NOT NULL,
  account_id TEXT NOT NULL,
  seq INTEGER NOT NULL,                 -- last change that is done with
  attempts INTEGER NOT NULL,            -- failed ones of the next change
  first_at INTEGER,                     -- of them
  next_at INTEGER,                      -- not again before
  PRIMARY KEY(webhook_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_cursors_account ON webhook_cursors(account_id);

CREATE TABLE webhook_deliveries(        -- every attempt
  webhook_id TEXT NOT NULL,
  at INTEGER NOT NULL,                  -- Unix nanoseconds, each once
  account_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  notification TEXT NOT NULL,           -- id, the same on every attempt
  type TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  status INTEGER NOT NULL,              -- HTTP; 0 no answer
  ms INTEGER NOT NULL,
  error TEXT NOT NULL,                  -- '' for success
  PRIMARY KEY(webhook_id, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_account ON webhook_deliveries(account_id);
CREATE INDEX webhook_deliveries_at ON webhook_deliveries(at);

CREATE TABLE webhook_replays(           -- what is told a webhook once more
  id TEXT PRIMARY KEY,
  webhook_id TEXT NOT NULL,
  account_id TEXT NOT NULL,             -- whose log; '': the application's feed
  object TEXT NOT NULL,                 -- only of this one; '': all
  state TEXT NOT NULL,                  -- ReplayState
  reason TEXT NOT NULL,                 -- of the state
  start TEXT NOT NULL,                  -- JSON of Place
  place TEXT NOT NULL,                  -- JSON of Place: up to where it is done
  goal TEXT NOT NULL,                   -- JSON of Place: where it ends
  sent INTEGER NOT NULL,
  attempts INTEGER NOT NULL,            -- failed ones of the next notification
  next_at INTEGER,                      -- not again before
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_replays_webhook ON webhook_replays(webhook_id, created_at, id);

CREATE TABLE feed(                      -- one order over the logs of an application's accounts, in which /v3/events tells them
  app_id TEXT NOT NULL,
  pos INTEGER NOT NULL,                 -- ascending
  at INTEGER NOT NULL,                  -- never falling
  account_id TEXT NOT NULL,             -- or the application's id: grant_events
  from_seq INTEGER NOT NULL,
  to_seq INTEGER NOT NULL,
  PRIMARY KEY(app_id, pos)
) STRICT, WITHOUT ROWID;
CREATE INDEX feed_account ON feed(account_id, from_seq);
CREATE INDEX feed_at ON feed(app_id, at);

CREATE TABLE feed_logs(                 -- how much of a log is in the feed
  account_id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE grant_events(              -- accounts that came and went, which no account's own log can tell
  app_id TEXT NOT NULL,
  seq INTEGER NOT NULL,                 -- counts from 1 for each application, without holes
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,                   -- created or deleted
  account_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  PRIMARY KEY(app_id, seq)
) STRICT, WITHOUT ROWID;
