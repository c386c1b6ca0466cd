package sender

import (
	"fmt"

	"github.com/emersion/go-smtp"
)

// inWords says what a reply means (RFC 5321 4.2, RFC 3463). The server's own words are not for applications: they may hold
// anything.
func inWords(e *smtp.SMTPError) string {
	code := fmt.Sprint(e.Code)
	if e.EnhancedCode[0] > 0 {
		code += fmt.Sprintf(" %d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	}
	return meaning(e) + " (" + code + ")"
}

func meaning(e *smtp.SMTPError) string {
	switch [2]int{e.EnhancedCode[1], e.EnhancedCode[2]} {
	case [2]int{1, 1}, [2]int{1, 6}, [2]int{1, 10}:
		return "there is no such mailbox"
	case [2]int{1, 2}:
		return "the domain of the address takes no mail"
	case [2]int{1, 3}:
		return "the address is not valid"
	case [2]int{1, 7}, [2]int{1, 8}:
		return "the sender's address is not accepted"
	case [2]int{2, 1}:
		return "the mailbox is switched off"
	case [2]int{2, 2}, [2]int{3, 1}:
		return "the mailbox is full"
	case [2]int{3, 4}, [2]int{2, 3}:
		return "the message is larger than the mail server allows"
	case [2]int{4, 5}, [2]int{3, 2}:
		return "the mail server is too busy"
	case [2]int{5, 3}:
		return "too many recipients at once"
	case [2]int{6, 3}:
		return "the message has eight-bit content, which the mail server does not take"
	case [2]int{6, 7}:
		return "an address or a header field goes beyond ASCII, which the mail server does not take"
	case [2]int{7, 1}:
		return "the mail server does not allow it: the sender, a recipient or the content is blocked"
	case [2]int{7, 0}, [2]int{7, 26}, [2]int{7, 23}, [2]int{7, 25}:
		return "the mail server refused it for its security rules"
	}
	switch e.Code {
	case 421:
		return "the mail server ended the conversation"
	case 450:
		return "the mailbox is not available now, or the mail server wants a later attempt"
	case 451:
		return "the mail server failed for now"
	case 452:
		return "the mail server has no room, or takes no more recipients at once"
	case 530, 535, 538:
		return "the mail server wants another login"
	case 550:
		return "the mailbox does not exist or may not be used"
	case 551:
		return "the mailbox is not at this server"
	case 552:
		return "the message is too large, or the mailbox is full"
	case 553:
		return "the address is not accepted"
	}
	if e.Code/100 == 5 {
		return "the mail server refused it"
	}
	return "the mail server cannot take it now"
}
