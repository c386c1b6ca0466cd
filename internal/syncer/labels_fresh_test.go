package syncer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

var gmailBins = []string{"[Gmail]/All Mail", "[Gmail]/Trash", "[Gmail]/Spam"}

// labelDifferences is differences for Gmail: of the folders in which messages lie, with their labels.
func (r *rig) labelDifferences() (out []string) {
	r.t.Helper()
	folders, err := r.a.mbox.Folders(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	names := map[mail.FolderID]string{}
	for _, f := range folders {
		names[f.ID] = f.RawName
	}
	here, there := map[string]string{}, map[string]string{}
	for k, v := range r.each(func(p mail.Placement) string {
		var labels []string
		for _, id := range p.Labels {
			labels = append(labels, names[id])
		}
		slices.Sort(labels)
		return fmt.Sprint(slices.Sorted(slices.Values(append(p.Flags.Names(), p.Keywords...))), labels, p.Held)
	}) {
		if slices.ContainsFunc(gmailBins, func(name string) bool { return strings.HasPrefix(k, name+" ") }) {
			here[k] = v
		}
	}
	for _, m := range r.p.Everything() {
		if slices.Contains(gmailBins, m.Folder) {
			there[fmt.Sprintf("%s %d %d", m.Folder, m.UIDValidity, m.UID)] = fmt.Sprint(m.Flags, m.Labels, true)
		}
	}
	for k := range there {
		if here[k] != there[k] {
			out = append(out, fmt.Sprintf("at the server %s %s, here %q", k, there[k], here[k]))
		}
	}
	for k := range here {
		if there[k] == "" {
			out = append(out, "only here: "+k)
		}
	}
	return out
}

// TestLabelsAreFresh changes labels without a MODSEQ that tells of it: an account is not said to be fresh before its labels are those of
// the server, and it is soon.
func TestLabelsAreFresh(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p *persona.Server){
		"made anew": func(p *persona.Server) {
			p.Delete("Work")
			p.Create("Work")
		},
		"made anew for as many": func(p *persona.Server) {
			p.Delete("Work")
			p.Create("Work")
			p.Copy("INBOX", 1, "Work")
		},
		"taken away": func(p *persona.Server) { p.Silently(func() { p.Expunge("Work", 1) }) },
		"given":      func(p *persona.Server) { p.Silently(func() { p.Copy("INBOX", 3, "Work") }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Gmail())
			r.p.Create("Work")
			r.fill("INBOX", 1, 5)
			r.p.Copy("INBOX", 2, "Work")
			r.begin()
			if d := r.labelDifferences(); len(d) > 0 {
				t.Fatal(d)
			}
			change(r.p)
			changed, fresh := r.now(), false
			for range 3 {
				r.wait(time.Minute)
				r.look(false)
				fresh = r.a.status.get().FreshAt.After(changed)
				if d := r.labelDifferences(); len(d) > 0 && fresh {
					t.Errorf("said to be fresh: %s", strings.Join(d, "\n"))
				}
			}
			if d := r.labelDifferences(); len(d) > 0 || !fresh {
				t.Errorf("in the end fresh %t, and %s", fresh, strings.Join(d, "\n"))
			}
		})
	}
}
