package v3

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
)

// policy reads the settings that say what is synchronised; nil if there is none of them.
func (s *settings) policy() *mail.SyncPolicy {
	given := false
	for _, key := range []string{"sync_days", "sync_bodies", "sync_folders", "sync_without_folders", "sync_history"} {
		given = given || s.has(key)
	}
	if !given {
		return nil
	}
	var p mail.SyncPolicy
	bodies := true
	s.value("sync_days", &p.Days, "a number of days")
	s.value("sync_bodies", &bodies, "true or false")
	s.value("sync_history", &p.TellHistory, "true or false")
	p.HeadersOnly = !bodies
	p.Folders, p.Without = s.names("sync_folders"), s.names("sync_without_folders")
	if p.Days < 0 || p.Days > 100_000 {
		s.fail("settings.sync_days must be a number of days; 0 is all")
	}
	return &p
}

// value reads a setting into v.
func (s *settings) value(key string, v any, want string) {
	if s.has(key) && json.Unmarshal(s.m[key], v) != nil {
		s.fail("settings." + key + " must be " + want)
	}
}

// names reads a list of folder names.
func (s *settings) names(key string) []string {
	var list []string
	s.value(key, &list, "a list of folder names")
	if len(list) > 1000 {
		s.fail("settings." + key + " names more than 1000 folders")
	}
	for _, n := range list {
		if n == "" || len(n) > 1000 || !utf8.ValidString(n) || strings.ContainsFunc(n, unicode.IsControl) {
			s.fail("settings." + key + " must be a list of folder names")
		}
	}
	return list
}
