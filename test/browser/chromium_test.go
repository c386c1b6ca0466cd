package browser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

var screenshots = flag.String("screenshots", "", "directory that pictures of the pages are written to")

// tab is one page of a browser, driven by the Chrome DevTools Protocol over a pair of pipes.
type tab struct {
	t       *testing.T
	to      *os.File
	session string

	mu      sync.Mutex
	n       int
	waiting map[int]chan answer
	events  chan event
	said    []string // what the page complained of: violations of its policy, errors, warnings
	excused string   // what a complaint may say, which may come after the page has loaded
	asked   []string // what it requested
}

type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

type event struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// open starts a browser with an empty page, in a profile of its own.
func open(t *testing.T) *tab {
	t.Helper()
	program := realsrv.Chromium(t)
	toChild, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, fromChild, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "posthorn-browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--user-data-dir="+dir, "about:blank")
	cmd.ExtraFiles = []*os.File{toChild, fromChild} // read from 3, written to 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toChild.Close()
	fromChild.Close()
	b := &tab{t: t, to: to, waiting: map[int]chan answer{}, events: make(chan event, 1000)}
	t.Cleanup(func() {
		to.Close()
		cmd.Process.Kill()
		_ = cmd.Wait()
		from.Close()
		_ = os.RemoveAll(dir)
	})
	go b.read(bufio.NewReaderSize(from, 1<<20))
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, d := range []string{"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"} {
		b.call(d, nil, nil)
	}
	return b
}

func (b *tab) read(r *bufio.Reader) {
	for {
		raw, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID int `json:"id"`
			answer
			event
		}
		if json.Unmarshal(raw[:len(raw)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[m.ID]; c != nil {
			delete(b.waiting, m.ID)
			c <- m.answer
		}
		switch m.Method {
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			_ = json.Unmarshal(m.Params, &p)
			b.asked = append(b.asked, p.Request.URL)
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled":
			var p struct{ Entry struct{ Level string } }
			_ = json.Unmarshal(m.Params, &p)
			excused := b.excused != "" && strings.Contains(string(m.Params), b.excused)
			if p.Entry.Level != "info" && p.Entry.Level != "verbose" && !excused {
				b.said = append(b.said, string(m.Params))
			}
		case "Page.loadEventFired":
			select {
			case b.events <- m.event:
			default:
			}
		}
		b.mu.Unlock()
	}
}

// call sends a command and reads its answer.
func (b *tab) call(method string, params, into any) {
	b.t.Helper()
	b.mu.Lock()
	b.n++
	id, c := b.n, make(chan answer, 1)
	b.waiting[id] = c
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	raw, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(raw, 0)); err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
	select {
	case a := <-c:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(a.Result, into); err != nil {
				b.t.Fatal(err)
			}
		}
	case <-time.After(time.Minute):
		b.t.Fatalf("%s: no answer", method)
	}
}

// loaded waits until what do leads to is loaded.
func (b *tab) loaded(do func()) {
	b.t.Helper()
	for len(b.events) > 0 {
		<-b.events
	}
	do()
	select {
	case <-b.events:
	case <-time.After(time.Minute):
		b.t.Fatal("the page did not load")
	}
}

func (b *tab) visit(url string) {
	b.t.Helper()
	b.loaded(func() { b.call("Page.navigate", map[string]any{"url": url}, nil) })
}

// eval runs a script in the page and returns its value, a string. Scripts of the page itself are forbidden; this is ours.
func (b *tab) eval(script string) string {
	b.t.Helper()
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true}, &out)
	if out.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, out.ExceptionDetails.Text)
	}
	return fmt.Sprint(out.Result.Value)
}

// await waits until a script's value is what it should be: the browser does some things, as focusing a field, after the page
// has loaded.
func (b *tab) await(script, want string) {
	b.t.Helper()
	b.until(func() (bool, string) {
		got := b.eval(script)
		return got == want, fmt.Sprintf("%s: %q, not %q", script, got, want)
	})
}

// until asks until the answer is yes, and otherwise fails with what was said last.
func (b *tab) until(ask func() (bool, string)) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		ok, why := ask()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatal(why)
		}
	}
}

// fill types into a field.
func (b *tab) fill(id, text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.getElementById(%q).focus(); document.getElementById(%q).value = ''", id, id))
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// enter presses the key that sends a form.
func (b *tab) enter() {
	b.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}, nil)
	}
}

// look checks what every page must keep to: nothing it complains of, nothing loaded from elsewhere, no script, nothing wider than
// the screen, a name for every field. With -screenshots it also writes pictures.
func (b *tab) look(name, origin string) {
	b.t.Helper()
	for _, size := range []struct {
		name          string
		width, height int
		dark          bool
	}{{"", 1000, 900, false}, {"-dark", 1000, 900, true}, {"-small", 320, 640, false}} {
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": size.width, "height": size.height, "deviceScaleFactor": 1, "mobile": false}, nil)
		scheme := "light"
		if size.dark {
			scheme = "dark"
		}
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		if got := b.eval("document.documentElement.scrollWidth > innerWidth ? 'too wide: ' + document.documentElement.scrollWidth : ''"); got != "" {
			b.t.Errorf("%s%s: %s", name, size.name, got)
		}
		if dir := *screenshots; dir != "" {
			var shot struct{ Data string }
			b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
			png, err := base64.StdEncoding.DecodeString(shot.Data)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+size.name+".png"), png, 0o644)
			}
			if err != nil {
				b.t.Error(err)
			}
		}
	}
	if got := b.eval(`[...document.querySelectorAll('input:not([type=hidden]), select')].filter(e => !e.labels || !e.labels.length).map(e => e.name).join()`); got != "" {
		b.t.Errorf("%s: fields without a label: %s", name, got)
	}
	if got := b.eval("document.scripts.length + ' ' + document.documentElement.lang + ' ' + (document.title != '')"); got != "0 en true" {
		b.t.Errorf("%s: scripts, language and title: %s", name, got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.said {
		b.t.Errorf("%s: the browser says %s", name, s)
	}
	for _, u := range b.asked {
		if !strings.HasPrefix(u, origin) && !strings.HasPrefix(u, "data:") && u != "about:blank" {
			b.t.Errorf("%s: it loads %s", name, u)
		}
	}
	b.said, b.asked = nil, nil
}

// excuse says what complaints are no fault of the page.
func (b *tab) excuse(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.excused = text
}

// forget drops what was said and asked for so far: on purpose.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said, b.asked = nil, nil
}
