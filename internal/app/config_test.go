package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func env(kv ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == name {
				return kv[i+1], true
			}
		}
		return "", false
	}
}

func TestLoadSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(" from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  []string
		key  string // of the application
		err  string
	}{
		{"nothing", nil, "", ""},
		{"variable", []string{"POSTHORN_API_KEY", "direct"}, "direct", ""},
		{"file", []string{"POSTHORN_API_KEY_FILE", file}, "from-file", ""},
		{"empty variable beside a file", []string{"POSTHORN_API_KEY", "", "POSTHORN_API_KEY_FILE", file}, "from-file", ""},
		{"both", []string{"POSTHORN_API_KEY", "x", "POSTHORN_API_KEY_FILE", file}, "", "POSTHORN_API_KEY and POSTHORN_API_KEY_FILE"},
		{"missing file", []string{"POSTHORN_API_KEY_FILE", file + "x"}, "", "POSTHORN_API_KEY_FILE"},
	} {
		var got Config
		err := got.LoadSecrets(env(c.env...))
		switch {
		case c.err == "" && (err != nil || got.APIKey != c.key):
			t.Errorf("%s: %q, %v", c.name, got.APIKey, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want the error to name %s", c.name, err, c.err)
		}
	}
}

func TestEgress(t *testing.T) {
	t.Parallel()
	got, err := (&Config{EgressAllow: " 127.0.0.0/8, ::1/128 ,,10.1.2.3/8"}).egress()
	if err != nil || len(got) != 3 || got[2].String() != "10.0.0.0/8" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := (&Config{EgressAllow: "10.0.0.1"}).egress(); err == nil || !strings.Contains(err.Error(), "POSTHORN_EGRESS_ALLOW") {
		t.Errorf("an address without length: %v", err)
	}
}

func TestEverySettingIsKnown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"POSTHORN_DATA", "POSTHORN_LISTEN", "POSTHORN_ADMIN_LISTEN", "POSTHORN_API_KEY", "POSTHORN_MASTER_KEY_FILE", "POSTHORN_DATABASE_URL", "POSTHORN_BLOB_URL", "POSTHORN_EGRESS_ALLOW", "POSTHORN_TLS_CA"} {
		if !KnownKey(name) {
			t.Errorf("%s is not known", name)
		}
	}
	if KnownKey("POSTHORN_LISTN") || KnownKey("") {
		t.Error("a name that does not exist is known")
	}
}

func TestTLSWithBadAuthority(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "x"} {
		if _, err := (&Config{TLSCA: path}).tls(); err == nil || !strings.Contains(err.Error(), "POSTHORN_TLS_CA") {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}
