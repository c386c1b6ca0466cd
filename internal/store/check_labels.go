package store

import (
	"fmt"
	"slices"
)

// checkedLabel is a label with the name of the copy that it is of.
type checkedLabel struct {
	of placementKey
	*labelRow
}

// checkLabels gives the labels to their copies, and counts them.
func (c *checker) checkLabels(m *checkedMessage, bad func(string, ...any)) {
	for _, l := range m.labels {
		f := c.folders[l.folder]
		is := l.was.counts()
		c.counted.vanished += is.vanished
		f.total += int(is.live)
		f.unread += int(is.unread)
		at := slices.IndexFunc(m.placements, func(p *placementRow) bool { return p.placementKey == l.of })
		name := fmt.Sprintf("label %d of placement %d/%d/%d", l.folder, l.of.folder, l.of.uidvalidity, l.of.uid)
		if at < 0 {
			bad("%s: there is no such placement", name)
			continue
		}
		p := m.placements[at]
		p.labels = append(p.labels, l.labelRow)
		switch {
		case is.live != 0 && f.gone:
			bad("%s: its folder is gone, but it has not vanished", name)
		case is.live != 0 && p.was.live == 0:
			bad("%s: the placement has vanished and it has not", name)
		case l.was.flags != p.flags:
			bad("%s: flags are not those of the placement", name)
		case l.folder == p.folder:
			bad("%s: is its own folder", name)
		}
	}
}
