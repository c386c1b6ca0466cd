package mime

// Snippet returns the beginning of a message's text for lists: about 100 characters on one line, valid UTF-8. It takes
// the plain text and falls back to the text inside the HTML.
func Snippet(text, html string) string { return "" }

// DisplayBody returns what a reader should see: the HTML if there is one, else the plain text.
func DisplayBody(m *Message) (body string, html bool) { return m.Text, false }

// TextToHTML turns plain text into HTML that shows it alike.
func TextToHTML(text string) string { return text }
