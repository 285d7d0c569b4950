package compress

import "strings"

// A coding is a content coding of RFC 9110, section 8.4.1.
type coding uint8

const (
	identity coding = iota
	gzipCoding
	brCoding
	zstdCoding
	dcbCoding
	dczCoding
	messageCoding // permessage-deflate: counted, never negotiated here
	codings       // how many there are
)

var codingNames = [codings]string{"identity", "gzip", "br", "zstd", "dcb", "dcz", "permessage-deflate"}

func (cd coding) String() string { return codingNames[cd] }

func codingByName(name string) (coding, bool) {
	for cd, n := range codingNames[:messageCoding] {
		if strings.EqualFold(n, name) {
			return coding(cd), true
		}
	}
	if strings.EqualFold(name, "x-gzip") { // RFC 9110, section 8.4.1.3
		return gzipCoding, true
	}
	return identity, false
}

// maxAcceptBytes is how much of an Accept-Encoding field is worth reading.
// A longer one is taken as absent: the plain representation suits anybody.
const maxAcceptBytes = 2048

// accept holds what an Accept-Encoding field says: the weight of each coding
// in thousandths, or -1 for one that it does not name.
type accept struct {
	q   [codings]int16
	any int16 // the weight of "*"
}

// parseAccept reads the field lines of Accept-Encoding, RFC 9110, section
// 12.5.3. Elements that are not well formed are passed over.
func parseAccept(lines []string) accept {
	a := accept{any: -1}
	for i := range a.q {
		a.q[i] = -1
	}
	size := 0
	for _, line := range lines {
		if size += len(line); size > maxAcceptBytes {
			break
		}
	}
	if size > maxAcceptBytes {
		return a
	}
	for _, line := range lines {
		for line != "" {
			var element string
			element, line, _ = strings.Cut(line, ",")
			a.add(element)
		}
	}
	return a
}

func (a *accept) add(element string) {
	name, params, _ := strings.Cut(element, ";")
	name = strings.Trim(name, " \t")
	q, ok := weight(params)
	if !ok || name == "" {
		return
	}
	if name == "*" {
		a.any = q
	} else if cd, ok := codingByName(name); ok {
		a.q[cd] = q
	}
}

// weight reads `q=0.5` among the parameters of an element, in thousandths.
func weight(params string) (q int16, ok bool) {
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		name, value, found := strings.Cut(p, "=")
		name = strings.Trim(name, " \t")
		if !found || (name != "q" && name != "Q") {
			continue
		}
		return qvalue(strings.Trim(value, " \t"))
	}
	return 1000, true
}

// qvalue is 0 or 1 with up to three decimals.
func qvalue(s string) (int16, bool) {
	if len(s) == 0 || len(s) > 5 || (s[0] != '0' && s[0] != '1') || (len(s) > 1 && s[1] != '.') {
		return 0, false
	}
	q := int16(s[0]-'0') * 1000
	for i, unit := 2, int16(100); i < len(s); i, unit = i+1, unit/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		q += int16(s[i]-'0') * unit
	}
	return q, q <= 1000
}

// weight is the weight of cd: its own, or that of "*".
func (a *accept) weight(cd coding) int16 {
	if a.q[cd] >= 0 {
		return a.q[cd]
	}
	if a.any >= 0 && cd < dcbCoding {
		return a.any
	}
	return 0
}

// best returns the acceptable coding with the highest weight; prefer breaks
// ties. Identity wins only where the client weighs it higher by name.
func (a *accept) best(prefer []coding) coding {
	best, most := identity, int16(0)
	for _, cd := range prefer {
		if q := a.weight(cd); q > most {
			best, most = cd, q
		}
	}
	if a.q[identity] > most {
		return identity
	}
	return best
}

// refusesIdentity reports whether a plain response is not acceptable.
func (a *accept) refusesIdentity() bool {
	return a.q[identity] == 0 || a.q[identity] < 0 && a.any == 0
}
