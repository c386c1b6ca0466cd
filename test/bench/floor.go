package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/test/realsrv"
)

// metaItems and fullItems are what a synchronisation has to ask for.
func metaItems() string {
	return "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (" + strings.Join(mime.HeaderFieldsForSync(), " ") + ")])"
}

const fullItems = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"

// floor reads everything from a plain socket and throws it away: no IMAP client can be quicker than that. After the login all commands
// go out at once, so the server never waits for us.
func floor(addr, user, password string, folders []string, items string) (took time.Duration, bytes int64, err error) {
	start := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	conn.SetDeadline(start.Add(time.Hour))
	if _, err := fmt.Fprintf(conn, "a LOGIN %s %s\r\n", realsrv.Quote(user), realsrv.Quote(password)); err != nil {
		return 0, 0, err
	}
	r := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "a "); {
		if line, err = r.ReadString('\n'); err != nil {
			return 0, 0, err
		}
	}
	w := bufio.NewWriter(conn)
	for _, f := range folders {
		fmt.Fprintf(w, "b EXAMINE %s\r\nc UID FETCH 1:* %s\r\n", realsrv.Quote(realsrv.EncodeName(f)), items)
	}
	fmt.Fprintf(w, "z LOGOUT\r\n")
	if err := w.Flush(); err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 256<<10)
	var last []byte
	for {
		n, err := r.Read(buf)
		bytes += int64(n)
		if n > 0 {
			last = append(last[:0], buf[max(0, n-200):n]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, bytes, err
		}
	}
	took = time.Since(start)
	if !strings.Contains(string(last), "z OK") {
		return took, bytes, fmt.Errorf("the floor's session ended with %q", last)
	}
	return took, bytes, nil
}
