package v3

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
)

// Fields says what a message answer holds.
type Fields string

// The values of fields=.
const (
	FieldsStandard Fields = "standard"
	FieldsHeaders  Fields = "include_headers"
	FieldsBasic    Fields = "include_basic_headers"
	FieldsTracking Fields = "include_tracking_options"
	FieldsRaw      Fields = "raw_mime"
)

// Page is what every list takes.
type Page struct {
	Limit  int
	Before int64 // position, 0 at the start
	Select Select
}

// Filter is what the lists of messages and threads share. All parts must hold; within a list one is enough.
type Filter struct {
	Subject                        string
	From, To, Cc, Bcc, AnyEmail    []string
	In                             []string // folder ids, names or roles
	Unread, Starred, HasAttachment *bool
	After, Before                  time.Time // both exclusive; zero: open
	Search                         string    // a query in one of the search languages; "" none
}

// MessageQuery is a request for a list of messages.
type MessageQuery struct {
	Page
	Filter
	Thread   mail.ThreadID
	Fields   Fields
	Metadata map[string]string // pairs that must all be there

	ByRelevance bool // the most relevant first of what Search finds; Before is how many came before
}

// Cursor is the kind of the list's tokens.
func (q *MessageQuery) Cursor() CursorKind {
	if q.ByRelevance {
		return CursorRanked
	}
	return CursorMessages
}

// ThreadQuery is a request for a list of threads.
type ThreadQuery struct {
	Page
	Filter
}

// FolderQuery is a request for a list of folders.
type FolderQuery struct {
	Page
	Parent      mail.FolderID
	SingleLevel bool // only the folders directly under Parent, or at the top
}

// GrantQuery is a request for a list of grants.
type GrantQuery struct {
	Limit, Offset   int
	SortBy          string // "created_at" or "updated_at"
	Desc            bool
	Since, Before   time.Time
	Email, Provider string
	Status          string // "", "valid" or "invalid"
	None            bool   // it asks for something that no grant here has
}

// The bounds of a query.
const (
	maxText  = 1024 // bytes of one filter value
	maxTerms = 25   // values of one filter
)

// reader reads a query string and keeps the first thing that is wrong with it.
type reader struct {
	q   url.Values
	err error
}

func (r *reader) fail(msg string) {
	if r.err == nil {
		r.err = invalid("read query", msg)
	}
}

func (r *reader) text(name string) string {
	s := r.q.Get(name)
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		r.fail(name + " is too long or not valid text")
		return ""
	}
	return s
}

// list reads a value that may be repeated, or hold several between commas.
func (r *reader) list(name string, commas bool) []string {
	var out []string
	for _, v := range r.q[name] {
		if len(v) > maxTerms*maxText || !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			r.fail(name + " is too long or not valid text")
			return nil
		}
		parts := []string{v}
		if commas {
			parts = strings.Split(v, ",")
		}
		for _, p := range parts {
			if p = strings.TrimSpace(p); p != "" {
				out = append(out, p)
			}
		}
	}
	if len(out) > maxTerms {
		r.fail(name + " takes at most " + strconv.Itoa(maxTerms) + " values")
		return nil
	}
	return out
}

// flag reads a boolean in any case, as SDKs differ: true, True, 1.
func (r *reader) flag(name string) *bool {
	s := r.q.Get(name)
	if s == "" {
		return nil
	}
	v, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		r.fail(name + " must be true or false")
		return nil
	}
	return &v
}

func (r *reader) is(name string) bool {
	v := r.flag(name)
	return v != nil && *v
}

func (r *reader) time(name string) time.Time {
	s := r.q.Get(name)
	if s == "" {
		return time.Time{}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		r.fail(name + " must be a Unix time in seconds")
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// limit reads the page length; more than max is taken as max, because clients page on by themselves.
func (r *reader) limit(def, most int) int {
	s := r.q.Get("limit")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		r.fail("limit must be a number above 0")
		return def
	}
	return min(n, most)
}

func (r *reader) page(kind CursorKind, def, most int) Page {
	p := Page{Limit: r.limit(def, most), Select: ParseSelect(strings.Join(r.q["select"], ","))}
	var err error
	if p.Before, err = ParseCursor(kind, r.q.Get("page_token")); err != nil && r.err == nil {
		r.err = err
	}
	return p
}

func (r *reader) filter(before, after string) Filter {
	return Filter{
		Search:  r.search(),
		Subject: r.text("subject"),
		From:    r.list("from", true), To: r.list("to", true), Cc: r.list("cc", true), Bcc: r.list("bcc", true),
		AnyEmail: r.list("any_email", true), In: r.list("in", false),
		Unread: r.flag("unread"), Starred: r.flag("starred"), HasAttachment: r.flag("has_attachment"),
		Before: r.time(before), After: r.time(after),
	}
}

// search reads search_query_native. Some callers encode it although their HTTP client does so again: a query without any
// blank or quote in which both are spelt as %20 and the like was encoded twice.
func (r *reader) search() string {
	s := r.q.Get("search_query_native")
	if strings.ContainsAny(s, " \t\"") {
		return s
	}
	for _, code := range []string{"%20", "%22", "%3A", "%3a"} {
		if !strings.Contains(s, code) {
			continue
		}
		if plain, err := url.QueryUnescape(s); err == nil && utf8.ValidString(plain) {
			return plain
		}
	}
	return s
}

// byRelevance reads search_order.
func (r *reader) byRelevance() bool {
	switch r.q.Get("search_order") {
	case "", "newest":
		return false
	case "relevance":
		return true
	}
	r.fail("search_order must be newest or relevance")
	return false
}

// ParseFields reads fields=.
func ParseFields(s string) (Fields, error) {
	switch f := Fields(s); f {
	case "":
		return FieldsStandard, nil
	case FieldsStandard, FieldsHeaders, FieldsBasic, FieldsTracking, FieldsRaw:
		return f, nil
	}
	return "", invalid("read query", "fields must be standard, include_headers, include_basic_headers, include_tracking_options or raw_mime")
}

// ParseMessageQuery reads the query of a list of messages.
func ParseMessageQuery(q url.Values) (MessageQuery, error) {
	r := &reader{q: q}
	out := MessageQuery{ByRelevance: r.byRelevance()}
	out.Page = r.page(out.Cursor(), 50, 200)
	out.Filter = r.filter("received_before", "received_after")
	out.Thread, out.Metadata = mail.ThreadID(r.text("thread_id")), r.pairs("metadata_pair")
	if out.ByRelevance && out.Search == "" {
		r.fail("search_order=relevance needs search_query_native: only what a search finds is more or less relevant")
	}
	f, err := ParseFields(q.Get("fields"))
	if err != nil && r.err == nil {
		r.err = err
	}
	out.Fields = f
	return out, r.err
}

// ParseThreadQuery reads the query of a list of threads.
func ParseThreadQuery(q url.Values) (ThreadQuery, error) {
	r := &reader{q: q}
	out := ThreadQuery{Page: r.page(CursorThreads, 20, 50), Filter: r.filter("latest_message_before", "latest_message_after")}
	if q.Get("metadata_pair") != "" {
		r.fail("metadata_pair is for messages: threads have no metadata")
	}
	if q.Get("earliest_message_date") != "" {
		r.fail("earliest_message_date cannot be filtered by; latest_message_after and latest_message_before can")
	}
	if r.byRelevance() {
		r.fail("search_order=relevance is for messages: threads are listed newest first")
	}
	return out, r.err
}

// ParseFolderQuery reads the query of a list of folders.
func ParseFolderQuery(q url.Values) (FolderQuery, error) {
	r := &reader{q: q}
	out := FolderQuery{Page: r.page(CursorFolders, 50, 200), Parent: mail.FolderID(r.text("parent_id")), SingleLevel: r.is("single_level")}
	return out, r.err
}

// ParseGrantQuery reads the query of a list of grants.
func ParseGrantQuery(q url.Values) (GrantQuery, error) {
	r := &reader{q: q}
	out := GrantQuery{Limit: r.limit(10, 200), SortBy: q.Get("sort_by"), Desc: true, Since: r.time("since"), Before: r.time("before"),
		Email: strings.ToLower(r.text("email")), Provider: r.text("provider"), Status: q.Get("grant_status")}
	switch out.SortBy {
	case "":
		out.SortBy = "created_at"
	case "created_at", "updated_at":
	default:
		r.fail("sort_by must be created_at or updated_at")
	}
	switch q.Get("order_by") {
	case "", "desc":
	case "asc":
		out.Desc = false
	default:
		r.fail("order_by must be asc or desc")
	}
	switch out.Status {
	case "", "valid", "invalid":
	default:
		r.fail("grant_status must be valid or invalid")
	}
	for _, name := range []string{"ip", "workspace_id", "account_id", "account_ids"} {
		out.None = out.None || q.Get(name) != ""
	}
	if s := q.Get("offset"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			r.fail("offset must be a number from 0")
		}
		out.Offset = n
	}
	return out, r.err
}
