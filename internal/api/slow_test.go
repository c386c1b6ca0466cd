package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/realsrv"
)

// While the database is locked every request ends with words that say so, however many there are, and the next ones are answered.
func TestTheDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	at := realsrv.StartPostgres(t).URL(t)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("lock_timeout", "300")
	u.RawQuery = q.Encode()
	m := setupIn(t, store.Options{DatabaseURL: u.String()}).account("ann@example.test")
	m.deliver(letter{raw: plain("one", "Alice <alice@example.test>", "first hello", "x"), at: 1700001000})
	m.get(m.base+"/messages", nil)
	other, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	exec := func(q string) {
		t.Helper()
		if _, err := other.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	exec("BEGIN")
	exec("LOCK TABLE messages, accounts IN ACCESS EXCLUSIVE MODE")
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			req := httptest.NewRequest("GET", m.base+"/messages", nil)
			req.Header.Set("Authorization", "Bearer "+m.key)
			w := httptest.NewRecorder()
			m.api.ServeHTTP(w, req)
			if w.Code != http.StatusGatewayTimeout || !strings.Contains(w.Body.String(), "the database is") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	exec("ROLLBACK")
	m.get(m.base+"/messages", nil)
}
