package imap

import "strconv"

// QResync is what the caller knows of a mailbox, so that SELECT tells what has changed since (QRESYNC, RFC 7162 3.2.5).
type QResync struct {
	UIDValidity uint32
	ModSeq      uint64
	// Known are the UIDs the caller has; Selected.Vanished is cut to them. Empty means that it is not cut but to UIDNEXT.
	Known UIDSet
	// Each is called for every message the server says has changed, in wire order; its error ends the session. The Row is
	// as in Fetch. Nil drops them.
	Each func(*Row) error
}

// resyncing is a QResync whose answer is being read.
type resyncing struct {
	*QResync
	gone setBuilder
	rows uint32
}

// usable reports whether QRESYNC may be sent: it must be on (RFC 7162 3.2.5), and 0 is no MODSEQ.
func (q *QResync) usable(s *Session) bool {
	return q != nil && s.enabled["QRESYNC"] && q.UIDValidity > 0 && q.ModSeq > 0
}

// param writes `QRESYNC (uidvalidity modseq known)`. Known sets too long for a command become one range: the server then
// tells of more, which is cut off again.
func (q *QResync) param(l *line, limit int) {
	l.text("QRESYNC (" + strconv.FormatUint(uint64(q.UIDValidity), 10) + " " + strconv.FormatUint(q.ModSeq, 10))
	if !q.Known.Empty() && !q.Known.Open() {
		known := q.Known.String()
		if len(l.b)+len(known)+tagRoom > limit {
			r := q.Known.r
			known = UIDRange{r[0].Start, r[len(r)-1].Stop}.String()
		}
		l.text(" " + known)
	}
	l.text(")")
}

// take handles what the server says has changed. Before it has said that UIDVALIDITY is the same nothing counts.
func (q *resyncing) take(s *Session, d *Selected, kind string, num uint32, p *parser) (bool, error) {
	same := d.HasUIDValidity && d.UIDValidity == q.UIDValidity
	switch kind {
	case "VANISHED":
		u, err := parseVanished(p)
		if err != nil {
			d.QResync = false // one of them is lost: nothing may be concluded
			return false, err
		}
		if same {
			q.gone.add(u.UIDs)
		}
		return true, nil
	case "FETCH", "UIDFETCH":
		row := &s.row
		err := s.readRow(p, row, num, kind == "UIDFETCH")
		if err != nil || row.UID == 0 {
			d.QResync = false
			return true, nil
		}
		if q.rows++; q.rows <= d.Exists {
			s.responses--
		}
		if same && q.Each != nil {
			if err := q.Each(row); err != nil {
				return false, sinkError{err}
			}
		}
		return true, nil
	}
	return false, nil
}

// finish cuts what vanished to what is known.
func (q *resyncing) finish(d *Selected) {
	d.Vanished = q.gone.set()
	if !d.HasUIDValidity || d.UIDValidity != q.UIDValidity || d.NoModSeq {
		d.QResync, d.Vanished = false, UIDSet{}
		return
	}
	switch {
	case !q.Known.Empty():
		d.Vanished = d.Vanished.And(q.Known)
	case d.HasUIDNext && d.UIDNext > 0:
		d.Vanished = d.Vanished.within(UIDRange{1, max(d.UIDNext-1, 1)})
	}
}
