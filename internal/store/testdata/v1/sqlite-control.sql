-- What is not one account's mail: applications, API keys, accounts and their keys, webhooks. One encrypted file.
-- Times are Unix milliseconds. postgres.sql has the same tables.

CREATE TABLE apps(
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  event_seq INTEGER NOT NULL DEFAULT 0, -- number of the last grant event
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys(
  id TEXT PRIMARY KEY,
  app_id TEXT NOT NULL,
  name TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,            -- SHA-256 of the key
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

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

CREATE TABLE grant_events(              -- accounts that came and went, which no account's own log can tell
  app_id TEXT NOT NULL,
  seq INTEGER NOT NULL,                 -- counts from 1 for each application, without holes
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,                   -- created or deleted
  account_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  PRIMARY KEY(app_id, seq)
) STRICT, WITHOUT ROWID;
