package imap

// EncodeName turns a name for show into what the server wants.
func EncodeName(name string) string { return name }

// DecodeName turns a server's name into one for show.
func DecodeName(raw string) (string, error) { return raw, nil }
