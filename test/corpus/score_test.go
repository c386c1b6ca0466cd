package corpus

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/test/binary"
)

// agreement is the least share of non-empty values, in percent, on which `posthorn parse` agrees with what at least two of four
// independent parsers say.
const agreement = 99.5

// TestAgreement has the corpus' own scorer compare what we read of each message with what independent parsers do.
func TestAgreement(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Log("not run with -short: it reads 14,000 messages")
		return
	}
	dir := Dir(t)
	if dir == "" {
		return
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("not run: no python3, in which the corpus' scorer is written")
		return
	}
	program, err := binary.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mails, oracles := t.TempDir(), t.TempDir()
	var files []string
	for _, m := range Messages(t, dir) {
		files = append(files, m.File)
		if err := os.WriteFile(filepath.Join(mails, m.File), m.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unpack(t, filepath.Join(dir, "oracles-open.tar.zst"), func(name string, r io.Reader) {
		f, err := os.Create(filepath.Join(oracles, filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, r); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
	dump := filepath.Join(mails, "dump.jsonl")
	out, err := os.Create(dump)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(files, 1000) {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"parse"}, part...)...)
		var said bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = mails, out, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("posthorn parse: %v: %s", err, said.Bytes())
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(mails, "report.json")
	if said, err := exec.CommandContext(t.Context(), python, filepath.Join(dir, "score.py"), "--oracle", oracles, "--dump", dump, "--json", report).CombinedOutput(); err != nil {
		t.Fatalf("score.py: %v: %s", err, said)
	}
	raw, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var scored struct {
		Fields map[string]struct {
			Nonempty int
			Agree    float64 `json:"nonempty_agree"`
		}
	}
	if err := json.Unmarshal(raw, &scored); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"subject", "from_emails", "from_names", "to_emails", "cc_emails", "date", "text", "html", "att_all", "att_core"} {
		f := scored.Fields[field]
		t.Logf("%s: %.3f %% of %d", field, f.Agree, f.Nonempty)
		if f.Agree < agreement {
			t.Errorf("%s: %.3f %% of %d values, which is less than %.1f %%", field, f.Agree, f.Nonempty, agreement)
		}
	}
}
