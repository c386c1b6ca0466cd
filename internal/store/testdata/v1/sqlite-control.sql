-- What is not one account's mail: applications, API keys, accounts and their keys. One encrypted file.
-- Times are Unix milliseconds. postgres.sql has the same tables.

CREATE TABLE apps(
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
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
