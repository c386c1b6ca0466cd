package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// traces are the ways in which a string could lie around in a file.
func traces(s string) [][]byte {
	var wide []byte
	for _, u := range utf16.Encode([]rune(s)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	b64 := base64.StdEncoding.EncodeToString([]byte(s))
	return [][]byte{[]byte(strings.ToLower(s)), bytes.ToLower(wide), []byte(strings.ToLower(b64[:len(b64)-4])), []byte(hex.EncodeToString([]byte(s)))}
}

// search fails the test for every canary found in a file below dir.
func search(t *testing.T, dir string, canaries map[string]string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.ToLower(filepath.Base(path))
		var content []byte
		if d.Type().IsRegular() {
			files++
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
			content = bytes.ToLower(content)
		}
		for what, canary := range canaries {
			for _, trace := range traces(canary) {
				if bytes.Contains(content, trace) {
					t.Errorf("the %s is in %s", what, path)
					break
				}
			}
			if strings.Contains(name, strings.ToLower(canary)) {
				t.Errorf("the %s is in the file name %s", what, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("nothing to search in %s", dir)
	}
}

func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"info", "debug"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			canaries := map[string]string{
				"password": "Kan4rienVogelPasswort", "subject": "SubjectCanaryQuetzal", "body": "BodyCanaryKakapo",
				"attachment's name": "FileCanaryDodo", "attachment": "AttachedCanaryMoa",
			}
			addresses := map[string]string{"sender's address": "sendercanary-emu@example.com", "login": "logincanary-rhea@example.com"}
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Password: canaries["password"]})
			mail := "From: Canary <" + addresses["sender's address"] + ">\r\nTo: " + addresses["login"] + "\r\nSubject: " + canaries["subject"] +
				"\r\nMessage-ID: <canary@example.com>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat(canaries["body"]+"\r\n", 50) +
				"--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=" + canaries["attachment's name"] + ".txt\r\n\r\n" +
				strings.Repeat(canaries["attachment"]+"\r\n", 1000) + "--b--\r\n"
			user := addresses["login"]
			d.Append(t, user, "INBOX", []byte(mail), nil, time.Time{})
			d.Append(t, user, canaries["subject"]+" folder", []byte(strings.Replace(mail, "canary@", "canary2@", 1)), nil, time.Time{})
			// One that cannot be parsed well either.
			d.Append(t, user, "INBOX", []byte("Subject: "+canaries["subject"]+"\r\nDate: \xff\r\nFrom: \""+addresses["sender's address"]+"\r\n\r\n"+canaries["body"]), nil, time.Time{})

			dir, tmp := t.TempDir(), t.TempDir()
			s := serve(t, binary.Options{Dir: filepath.Join(dir, "data"), Log: filepath.Join(t.TempDir(), "log"),
				Env: []string{"POSTHORN_LOG_LEVEL=" + level, "TMPDIR=" + tmp}})
			wrong := binary.IMAP(d.Addr, user, canaries["password"]+"!")
			if _, err := s.Connect(t.Context(), wrong); err == nil {
				t.Error("a wrong password was accepted")
			} else if strings.Contains(err.Error(), canaries["password"]) {
				t.Errorf("the error repeats the password: %v", err)
			}
			g := connect(t, s, d, user)
			if all := binary.Everything(t, s, g.ID); len(all) != 3 {
				t.Errorf("%d messages", len(all))
			}
			var one map[string]any
			if err := s.Get(t.Context(), "/v3/grants/"+g.ID+"/messages?subject="+canaries["subject"], &one); err != nil {
				t.Error(err)
			}
			if err := s.Get(t.Context(), "/v3/grants/"+g.ID+"/messages/"+canaries["subject"], nil); err == nil {
				t.Error("an unknown id was found")
			}
			s.Kill()

			all := map[string]string{"API key": s.Key, "master key": s.Crypt}
			for _, m := range []map[string]string{canaries, addresses} {
				for k, v := range m {
					all[k] = v
				}
			}
			search(t, s.Dir, all)
			inLog := all
			if level == "debug" { // addresses may be in what only developers turn on
				inLog = map[string]string{"API key": s.Key, "master key": s.Crypt}
				for k, v := range canaries {
					inLog[k] = v
				}
			}
			search(t, filepath.Dir(s.Log), inLog)
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("temporary files: %v %v", left, err)
			}
		})
	}
}
