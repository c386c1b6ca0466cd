package imap_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/posthorn/posthorn/internal/imap"
)

// Open a mailbox, read what is new since the UID we know, and mark it.
func ExampleSession() {
	addr, stop := sampleServer("ann", "secret", "Subject: one\r\n\r\n1\r\n", "Subject: two\r\n\r\n2\r\n", "Subject: three\r\n\r\n3\r\n")
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Security is TLS unless said otherwise; this server is in the same process.
	s, err := imap.Dial(ctx, imap.Options{Addr: addr, Security: imap.Plain, OnUnilateral: func(u imap.Unilateral) {
		if u.Kind == imap.KindExists {
			fmt.Println("messages now:", u.Num)
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.CloseNow()
	if err := s.Login(ctx, "ann", "secret"); imap.ClassOf(err) == imap.AuthFailed {
		log.Fatal("the user has to act: ", err)
	} else if err != nil {
		log.Fatal(err)
	}
	in, err := s.Select(ctx, "INBOX", imap.SelectOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("messages:", in.Exists, "next UID:", in.UIDNext)

	var fresh imap.UIDSet
	err = s.Fetch(ctx, imap.Range(2, imap.Star), imap.FetchOptions{Flags: true, Body: true}, func(r *imap.Row) error {
		if r.Err != nil || !r.Body.Has { // unreadable or missing, which is not the same as empty
			return nil
		}
		fmt.Printf("%d %q\n", r.UID, r.Body.Bytes)
		fresh.Add(r.UID)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	st, err := s.Store(ctx, fresh, imap.StoreAdd, []string{`\Seen`}, imap.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("marked:", st.Done)
	if err := s.Logout(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// messages: 3 next UID: 4
	// 2 "Subject: two\r\n\r\n2\r\n"
	// 3 "Subject: three\r\n\r\n3\r\n"
	// marked: 2:3
}

// Sets are kept as ranges and cut where a server takes short commands only.
func ExampleUIDSet() {
	set, err := imap.ParseUIDSet("7,1:3,9,4")
	if err != nil {
		log.Fatal(err)
	}
	set.Add(8)
	fmt.Println(set, set.Len(), set.Contains(5))
	for _, part := range imap.UIDs(1, 3, 5, 7, 9, 11).Split(5) {
		fmt.Println(part)
	}
	// Output:
	// 1:4,7:9 7 false
	// 1,3,5
	// 7,9
	// 11
}

// sampleServer is a server in memory that somebody else wrote.
func sampleServer(user, password string, messages ...string) (addr string, stop func()) {
	u := imapmemserver.NewUser(user, password)
	if err := u.Create("INBOX", nil); err != nil {
		log.Fatal(err)
	}
	for _, m := range messages {
		if _, err := u.Append("INBOX", literal{strings.NewReader(m)}, &goimap.AppendOptions{}); err != nil {
			log.Fatal(err)
		}
	}
	mem := imapmemserver.New()
	mem.AddUser(u)
	srv := imapserver.New(&imapserver.Options{InsecureAuth: true, Caps: goimap.CapSet{goimap.CapIMAP4rev1: {}},
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	return l.Addr().String(), func() { _ = srv.Close(); <-done }
}

type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }
