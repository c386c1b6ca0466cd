package store

import "github.com/posthorn/posthorn/internal/mail"

// Problem is one violated invariant that Check found.
type Problem struct {
	Account mail.AccountID // "" in the control store
	What    string         // the invariant and the rows that break it, without mail content
}
