package v3

import (
	"reflect"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestSyncSettings(t *testing.T) {
	t.Parallel()
	const login = `"imap_username": "ann@example.com", "imap_password": "x"`
	for body, want := range map[string]*mail.SyncPolicy{
		``:                                      nil,
		`, "sync_days": 30`:                     {Days: 30},
		`, "sync_days": 0, "sync_bodies": true`: {},
		`, "sync_bodies": false, "sync_history": true`:              {HeadersOnly: true, TellHistory: true},
		`, "sync_folders": ["INBOX", "Zürich"]`:                     {Folders: []string{"INBOX", "Zürich"}},
		`, "sync_without_folders": ["Lists"], "sync_folders": null`: {Without: []string{"Lists"}},
	} {
		c, err := ParseConnect(strings.NewReader(`{"settings": {` + login + body + `}}`))
		if err != nil || !reflect.DeepEqual(c.Sync, want) {
			t.Errorf("%s: %+v, %v", body, c.Sync, err)
		}
	}
	for _, body := range []string{`"sync_days": -1`, `"sync_days": "all"`, `"sync_bodies": "no"`, `"sync_folders": "INBOX"`, `"sync_folders": [""]`, `"sync_without_folders": ["a\u0000"]`} {
		if _, err := ParseConnect(strings.NewReader(`{"settings": {` + login + `, ` + body + `}}`)); !mail.IsKind(err, mail.Invalid) || !strings.Contains(err.Error(), "settings.sync_") {
			t.Errorf("%s: %v", body, err)
		}
	}
}
