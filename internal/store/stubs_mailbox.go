package store

// Mailbox is one account's mail: folders, messages, threads and the log of changes. Safe for concurrent use.
type Mailbox struct{}
