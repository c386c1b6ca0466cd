package v3

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of metadata, in pairs and characters.
const (
	maxPairs = 50
	maxKey   = 40
	maxValue = 500
)

// indexedKeys are the names of metadata that can be filtered by.
var indexedKeys = [...]string{"key1", "key2", "key3", "key4", "key5"}

// ParseMetadata reads a metadata object: at most 50 pairs of a name of at most 40 characters and a string of at most
// 500. given is false if there is none; null is an empty one. It fails with Invalid.
func ParseMetadata(raw json.RawMessage) (metadata map[string]string, given bool, err error) {
	if raw == nil {
		return nil, false, nil
	}
	if err := json.Unmarshal(raw, &metadata); err != nil {
		return nil, true, invalid("read metadata", "metadata must be an object whose values are strings, without objects inside it")
	}
	if len(metadata) > maxPairs {
		return nil, true, invalid("read metadata", fmt.Sprintf("metadata has more than %d pairs", maxPairs))
	}
	for k, v := range metadata {
		if k == "" || utf8.RuneCountInString(k) > maxKey {
			return nil, true, invalid("read metadata", fmt.Sprintf("a name in metadata must have 1 to %d characters", maxKey))
		}
		if utf8.RuneCountInString(v) > maxValue {
			return nil, true, invalid("read metadata", fmt.Sprintf("a value in metadata must have at most %d characters", maxValue))
		}
	}
	return metadata, true, nil
}

// pairs reads metadata_pair: name:value, several between commas. A comma that no indexed name and colon follow is part of
// the value.
func (r *reader) pairs(name string) map[string]string {
	var out map[string]string
	last := ""
	for _, v := range r.q[name] {
		for i, part := range strings.Split(v, ",") {
			k, value, ok := strings.Cut(part, ":")
			k = strings.TrimSpace(k)
			if ok && slices.Contains(indexedKeys[:], k) {
				if old, twice := out[k]; twice && old != value {
					r.fail(name + ": a message has one value of " + k)
				}
				if out == nil {
					out = map[string]string{}
				}
				out[k], last = value, k
				continue
			}
			if i > 0 && last != "" && !ok {
				out[last] += "," + part
				continue
			}
			r.fail(name + " must be key1:value, with key1 to key5: only these names can be searched")
			return nil
		}
	}
	return out
}
