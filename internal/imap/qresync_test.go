package imap

import (
	"testing"
)

// TestResyncIsAllOrNothing: what SELECT says has changed counts only if all of it could be read and is of this mailbox.
func TestResyncIsAllOrNothing(t *testing.T) {
	t.Parallel()
	const opened = "* OK [UIDVALIDITY 1] ok\r\n* 3 EXISTS\r\n* OK [UIDNEXT 10] ok\r\n* OK [HIGHESTMODSEQ 9] ok\r\n"
	for name, c := range map[string]struct {
		said, vanished string
		all            bool
	}{
		"all":                                 {opened + "* VANISHED (EARLIER) 2,4\r\n* 2 FETCH (UID 3 FLAGS (\\Seen))\r\n", "2,4", true},
		"more than there can be":              {opened + "* VANISHED (EARLIER) 8:4294967295\r\n", "8:9", true},
		"a row without a UID":                 {opened + "* 2 FETCH (FLAGS (\\Seen))\r\n", "", false},
		"a row that cannot be read":           {opened + "* 2 FETCH (UID x FLAGS (\\Seen))\r\n", "", false},
		"of the mailbox that was open before": {"* OK [NOMODSEQ] none\r\n* OK [CLOSED] ok\r\n" + opened, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{Addr: pipeServer(t, greetThen(c.said+"P1 OK [READ-ONLY] done\r\n"))})
			s.enabled = map[string]bool{"QRESYNC": true}
			d, err := s.Select(t.Context(), "INBOX", SelectOptions{ReadOnly: true, QResync: &QResync{UIDValidity: 1, ModSeq: 5}})
			if err != nil {
				t.Fatal(err)
			}
			if d.QResync != c.all || d.QResync && d.Vanished.String() != c.vanished || d.NoModSeq || d.HighestModSeq != 9 {
				t.Errorf("%+v, vanished %q", d, d.Vanished.String())
			}
		})
	}
}
