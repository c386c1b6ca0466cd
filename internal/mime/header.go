package mime

// Field is one header field. Value is raw: everything after the colon without the final line end, folded as it came.
type Field struct {
	Name  string
	Value string
}

// Header is a header block, its fields in their order.
type Header []Field

// Get returns the first value of a field, unfolded and trimmed but not decoded; "" if there is none.
func (h Header) Get(name string) string { return "" }

// Has tells whether the header has such a field.
func (h Header) Has(name string) bool { return false }

// All returns the values of all fields of that name, unfolded and trimmed but not decoded.
func (h Header) All(name string) []string { return nil }

// HeaderFieldsForSync returns the names to ask for in FETCH HEADER.FIELDS: what lists, identity and threading need.
func HeaderFieldsForSync() []string {
	return []string{"Message-ID", "Date", "From", "To", "Cc", "Bcc", "Reply-To", "Sender", "Subject", "In-Reply-To", "References",
		"Thread-Index", "Received", "Content-Type"}
}
