// Package store keeps everything: all SQL, for both databases.
//
// Embedded, a data directory holds
//
//	lock                             one server at a time
//	keyring.json                     which master key is needed; the wrapped key of control.db
//	control.db                       applications, API keys, accounts, their wrapped keys and sealed secrets
//	acct/<xx>/<account>/mail.db      one account's mailbox: rows and change log
//	acct/<xx>/<account>/blobs.db     its bodies, every chunk sealed
//	acct/<xx>/<account>/search.db    its search index, every block sealed; can be removed at any time
//
// The first two databases are SQLite files encrypted page by page, mail.db with a key of the account's own; whoever
// destroys the account's key erases the account. As a cluster, one PostgreSQL schema has the same tables with account_id
// in front of every key; bodies and secrets are sealed there too, the rest is as safe as the database server.
//
// A write is one transaction: rows and the changes that tell of them. Order of a commit: blobs, then the account's
// transaction, then the control store; a blob that no row names is garbage after an hour.
package store
