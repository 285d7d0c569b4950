package compress

import (
	"net/http"
	"slices"
	"strings"
)

// A snapshot remembers the response header as it was when the handler wrote
// it. The body is sent later, and what the handler changes in between must
// not show, as it would not without this middleware.
type snapshot struct {
	entries []headerEntry
	values  []string // of all entries, one after the other
	late    []headerEntry
	// describes says that a field of the header is about the body as it was,
	// trailers that there are some.
	describes, trailers bool
}

type headerEntry struct {
	key    string
	values []string
	from   int // of the copies in snapshot.values
	seen   bool
}

func (s *snapshot) take(h http.Header) {
	for k, v := range h {
		s.entries = append(s.entries, headerEntry{key: k, values: v, from: len(s.values)})
		s.values = append(s.values, v...)
		switch k {
		case "Accept-Ranges", "Content-Length", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Etag":
			s.describes = true
		case "Trailer":
			s.trailers = true
		default:
			s.trailers = s.trailers || strings.HasPrefix(k, http.TrailerPrefix)
		}
	}
}

// add notes a Content-Type that the server would have found itself.
func (s *snapshot) add(contentType string) {
	v := []string{contentType}
	s.entries = append(s.entries, headerEntry{key: "Content-Type", values: v, from: len(s.values)})
	s.values = append(s.values, v...)
}

// restore undoes what happened to h since take, and keeps it for reapply.
func (s *snapshot) restore(h http.Header) {
	same := len(h) == len(s.entries)
	for i := range s.entries {
		e := &s.entries[i]
		was := s.values[e.from : e.from+len(e.values)]
		v, ok := h[e.key]
		if ok && slices.Equal(v, was) {
			continue
		}
		same = false
		s.late = append(s.late, headerEntry{key: e.key, values: v, seen: ok})
		h[e.key] = slices.Clone(was)
	}
	if same {
		return
	}
	for k, v := range h {
		if !slices.ContainsFunc(s.entries, func(e headerEntry) bool { return e.key == k }) {
			s.late = append(s.late, headerEntry{key: k, values: v, seen: true})
			delete(h, k)
		}
	}
}

// reapply brings the late changes back: trailers are among them.
func (s *snapshot) reapply(h http.Header) {
	for _, e := range s.late {
		if e.seen {
			h[e.key] = e.values
		} else {
			delete(h, e.key)
		}
	}
}

// hasTrailers reports whether the response announces or has trailers.
func (s *snapshot) hasTrailers() bool {
	return s.trailers || slices.ContainsFunc(s.late, func(e headerEntry) bool {
		return strings.HasPrefix(e.key, http.TrailerPrefix)
	})
}

func (s *snapshot) reset() {
	clear(s.entries)
	clear(s.values)
	clear(s.late)
	*s = snapshot{entries: s.entries[:0], values: s.values[:0], late: s.late[:0]}
}

// valueArena makes one-value header fields without an allocation for each.
// Values are never used twice: the header may outlive the response.
type valueArena struct{ free []string }

func (a *valueArena) set(h http.Header, key, value string) {
	if len(a.free) == 0 {
		a.free = make([]string, 32)
	}
	a.free[0] = value
	h[key] = a.free[:1:1]
	a.free = a.free[1:]
}

// addVary adds a field name to Vary unless it is there.
func (a *valueArena) addVary(h http.Header, name string) {
	lines := h["Vary"]
	for _, line := range lines {
		if line == name || listed(line, name) || listed(line, "*") {
			return
		}
	}
	if len(lines) == 0 {
		a.set(h, "Vary", name)
		return
	}
	a.set(h, "Vary", strings.Join(lines, ", ")+", "+name)
}

// listed reports whether a comma-separated list has the token.
func listed(list, token string) bool {
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ",")
		item, _, _ = strings.Cut(item, "=")
		if strings.EqualFold(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

func anyListed(lines []string, token string) bool {
	for _, line := range lines {
		if listed(line, token) {
			return true
		}
	}
	return false
}
