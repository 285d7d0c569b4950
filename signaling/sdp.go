package signaling

import (
	"errors"
	"fmt"
	"strings"
)

// The bounds of what is relayed.
const (
	maxSDP       = 64 << 10
	maxMedia     = 64 // m= lines
	maxCandidate = 1 << 10
)

// Description is a session description as browsers exchange it.
type Description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// check refuses what no browser makes: a relay should not carry anything else.
// It does not judge the media, and nothing is rewritten.
func (d *Description) check() error {
	if len(d.SDP) == 0 || len(d.SDP) > maxSDP {
		return fmt.Errorf("SDP of %d bytes, want 1 to %d", len(d.SDP), maxSDP)
	}
	if !strings.HasPrefix(d.SDP, "v=0\r\n") || !strings.HasSuffix(d.SDP, "\r\n") {
		return errors.New("SDP must begin with v=0 and end with CRLF")
	}
	media, ufrag, pwd, print := 0, false, false, false
	for i, first := 0, 0; i < len(d.SDP); i++ {
		i += plain(d.SDP[i:])
		if i == len(d.SDP) {
			break
		}
		c := d.SDP[i]
		if c == '\r' && i+1 < len(d.SDP) && d.SDP[i+1] == '\n' {
			line := d.SDP[first:i]
			if len(line) < 2 || line[1] != '=' || line[0] < 'a' || line[0] > 'z' {
				return fmt.Errorf("SDP line %.20q is not of the form x=…", line)
			}
			switch {
			case line[0] == 'm':
				media++
			case line[0] != 'a':
			case strings.HasPrefix(line, "a=ice-ufrag:"):
				ufrag = true
			case strings.HasPrefix(line, "a=ice-pwd:"):
				pwd = true
			case strings.HasPrefix(line, "a=fingerprint:"):
				print = true
			}
			i++
			first = i + 1
		} else if c < ' ' && c != '\t' || c == 0x7f {
			return errors.New("SDP holds a control character")
		}
	}
	if media > maxMedia {
		return fmt.Errorf("SDP with %d media, want at most %d", media, maxMedia)
	}
	if media > 0 && !(ufrag && pwd && print) {
		return errors.New("SDP without ice-ufrag, ice-pwd or fingerprint")
	}
	return nil
}

// ufrag is the first ice-ufrag: the name of this generation of candidates.
func (d *Description) ufrag() string {
	_, rest, _ := strings.Cut(d.SDP, "\na=ice-ufrag:")
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

// ICECandidate is a candidate as browsers exchange it. An empty Candidate ends
// the generation.
type ICECandidate struct {
	Candidate        string  `json:"candidate"`
	SDPMid           *string `json:"sdpMid,omitempty"`
	SDPMLineIndex    *uint16 `json:"sdpMLineIndex,omitempty"`
	UsernameFragment *string `json:"usernameFragment,omitempty"`
}

func (c *ICECandidate) check() error {
	if len(c.Candidate) > maxCandidate || c.SDPMid != nil && len(*c.SDPMid) > 64 ||
		c.UsernameFragment != nil && len(*c.UsernameFragment) > 256 {
		return errors.New("candidate too long")
	}
	if strings.ContainsFunc(c.Candidate, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("candidate holds a control character")
	}
	if c.Candidate == "" {
		return nil
	}
	// candidate:foundation component transport priority address port typ type …  (RFC 8839, 5.1)
	f := strings.Fields(strings.TrimPrefix(c.Candidate, "a="))
	if len(f) < 8 || !strings.HasPrefix(f[0], "candidate:") || f[6] != "typ" {
		return errors.New("not a candidate")
	}
	return nil
}

// relayed reports whether the candidate's address is that of a TURN server.
func (c *ICECandidate) relayed() bool {
	_, rest, _ := strings.Cut(c.Candidate, " typ ")
	typ, _, _ := strings.Cut(rest, " ")
	return typ == "relay"
}
