package persona

import (
	"maps"
	"reflect"
	"slices"
	"sync"
)

// acts counts by knob.
type acts struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *acts) add(knob string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[string]int{}
	}
	a.n[knob]++
}

// act counts that a knob, by its name in Knobs, has made a difference, if it has.
func (s *session) act(knob string, has bool) {
	if has {
		s.p.acts.add(knob)
	}
}

// Acted tells for each knob that is turned how often it has made a difference to what a client was told. What a server can do, and
// how its folders are laid out (Caps, Gmail, Prefix), is always felt and not counted.
func (p *Server) Acted() map[string]int {
	out := map[string]int{}
	k := reflect.ValueOf(p.turned())
	p.acts.mu.Lock()
	defer p.acts.mu.Unlock()
	for i := range k.NumField() {
		if name := k.Type().Field(i).Name; !k.Field(i).IsZero() && !slices.Contains([]string{"Caps", "CapsOf", "Gmail", "Prefix"}, name) {
			out[name] = p.acts.n[name]
		}
	}
	return out
}

// Idle returns those of the knobs of Acted that made no difference, sorted.
func (p *Server) Idle() []string {
	acted := p.Acted()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(acted)), func(name string) bool { return acted[name] > 0 })
}
