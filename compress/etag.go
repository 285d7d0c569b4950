package compress

import (
	"net/http"
	"strings"
)

// A strong entity tag names one sequence of bytes (RFC 9110, section 8.8.3),
// so each coding of a body needs its own: "v1" becomes "v1-br". What the
// client sends back in If-None-Match and If-Match is given to the handler in
// both forms, since a handler's own tags may end that way too.

var tagSuffix = [codings]string{gzipCoding: `-gzip"`, brCoding: `-br"`, zstdCoding: `-zstd"`, dcbCoding: `-dcb"`, dczCoding: `-dcz"`}

// encodedTag is the tag of the encoded form; weak tags stay as they are.
func encodedTag(tag string, cd coding) (string, bool) {
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' || cd == identity {
		return tag, false
	}
	return tag[:len(tag)-1] + tagSuffix[cd], true
}

// plainTag takes a suffix off.
func plainTag(tag string) (string, bool) {
	for _, suffix := range tagSuffix[gzipCoding : dczCoding+1] {
		if before, ok := strings.CutSuffix(tag, suffix); ok {
			return before + `"`, true
		}
	}
	return tag, false
}

// withPlainTags returns r or, where a condition names encoded forms, a copy
// of it whose conditions name the plain ones as well.
func withPlainTags(r *http.Request) *http.Request {
	out := r
	for _, field := range [...]string{"If-None-Match", "If-Match"} {
		lines := r.Header[field]
		var plain []string
		for _, line := range lines {
			if len(line) > 8<<10 {
				continue
			}
			for part := range strings.SplitSeq(line, ",") {
				if t, ok := plainTag(strings.Trim(part, " \t")); ok {
					plain = append(plain, t)
				}
			}
		}
		if plain == nil {
			continue
		}
		if out == r {
			copied := *r
			copied.Header = r.Header.Clone()
			out = &copied
		}
		out.Header[field] = []string{strings.Join(lines, ", ") + ", " + strings.Join(plain, ", ")}
	}
	return out
}

// matchedTag is the tag for a 304: the form of tag that the client named.
func matchedTag(tag string, lines []string) string {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			named := strings.Trim(part, " \t")
			if t, ok := plainTag(named); ok && strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
				return named
			}
		}
	}
	return tag
}
