package v3

import (
	"fmt"
	"io"

	"github.com/posthorn/posthorn/internal/mail"
)

// maxClean is how many messages one request may clean.
const maxClean = 20

// Clean is the body of PUT messages/clean; nil options are true, but for HTMLAsMarkdown.
type Clean struct {
	Messages                []mail.MessageID `json:"message_id"`
	IgnoreLinks             *bool            `json:"ignore_links"`
	IgnoreImages            *bool            `json:"ignore_images"`
	ImagesAsMarkdown        *bool            `json:"images_as_markdown"`
	IgnoreTables            *bool            `json:"ignore_tables"`
	RemoveConclusionPhrases *bool            `json:"remove_conclusion_phrases"`
	HTMLAsMarkdown          *bool            `json:"html_as_markdown"`
}

// ParseClean reads and checks a Clean. It fails with Invalid.
func ParseClean(body io.Reader) (Clean, error) {
	var c Clean
	if err := DecodeJSON(body, &c); err != nil {
		return c, err
	}
	if n := len(c.Messages); n == 0 || n > maxClean {
		return c, invalid("read body", fmt.Sprintf("message_id must hold 1 to %d ids", maxClean))
	}
	return c, nil
}

// CleanMessage is a message with what a person wrote in it: without quoted text, signature and, unless told otherwise,
// conclusion.
type CleanMessage struct {
	Message
	Conversation string `json:"conversation"`
}
