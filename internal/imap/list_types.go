package imap

// ListOptions say what List asks for.
type ListOptions struct {
	Reference  string       // usually empty
	Pattern    string       // default "*"
	Status     []StatusItem // asked along when the server offers LIST-STATUS; else Mailbox.Status stays nil
	SpecialUse bool         // ask for special-use attributes where they must be asked for (RFC 6154)
}

// Mailbox is one line of a LIST answer.
type Mailbox struct {
	Raw       string      // the name as the server spells it, byte for byte: the key, and what commands take
	Name      string      // for show: decoded, valid UTF-8
	Delimiter string      // one character, or empty: no hierarchy
	Attrs     []string    // as sent: `\HasNoChildren`, `\Sent`
	Status    *StatusData // nil: not asked or not answered
	// Err is set when the line could not be read; Raw is then a guess and the list must not be taken as complete.
	Err error
}

// Namespaces is the answer to NAMESPACE (RFC 2342).
type Namespaces struct{ Personal, Other, Shared []Namespace }

// Namespace is one prefix under which mailboxes live.
type Namespace struct{ Prefix, Delimiter string }
