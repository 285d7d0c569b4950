package signaling

import (
	"encoding/json"
	"strconv"
	"time"
)

// signal is the data of rtc:offer, rtc:answer and rtc:ice, as the client sends
// it and, with From and At, as the other side gets it.
type signal struct {
	RoomID      string         `json:"roomId"`
	From        string         `json:"from,omitempty"`
	At          time.Time      `json:"at,omitzero"`
	To          string         `json:"to,omitempty"`    // needed in rooms of more than two
	Offer       uint64         `json:"offer,omitempty"` // the offer's number; an answer repeats it
	Description *Description   `json:"description,omitempty"`
	Candidate   *ICECandidate  `json:"candidate,omitempty"`
	Candidates  []ICECandidate `json:"candidates,omitempty"`

	sdp []byte // Description.SDP as the client wrote it, if that is known
}

// parseSignal reads the data of a signal.
func parseSignal(b []byte) (signal, bool) {
	if s, ok := scanSignal(b); ok {
		return s, true
	}
	var s signal
	err := json.Unmarshal(b, &s)
	return s, err == nil
}

func scanSignal(b []byte) (s signal, ok bool) {
	in := scanner{b: b, depth: 8}
	for n := in.open('{'); in.more(n, '}'); n++ {
		var err error
		switch key := in.key(); string(key) {
		case "roomId":
			s.RoomID = in.text()
		case "to":
			s.To = in.text()
		case "description":
			if s.Description == nil {
				s.Description = new(Description)
			}
			in.description(&s)
		case "offer":
			s.Offer, err = strconv.ParseUint(string(in.value()), 10, 64)
		case "candidate":
			err = json.Unmarshal(in.value(), &s.Candidate)
		case "candidates":
			err = json.Unmarshal(in.value(), &s.Candidates)
		default:
			in.other(key, "roomId", "from", "at", "to", "offer", "description", "candidate", "candidates")
		}
		if err != nil {
			in.fail()
		}
	}
	return s, in.done()
}

// description reads the description of a signal.
func (s *scanner) description(of *signal) {
	for n := s.open('{'); s.more(n, '}'); n++ {
		switch key := s.key(); string(key) {
		case "type":
			of.Description.Type = s.text()
		case "sdp":
			s.next()
			first := s.i
			of.Description.SDP = s.text()
			of.sdp = s.b[first:s.i]
		default:
			s.other(key, "type", "sdp")
		}
	}
}

// appendSignal appends the message that brings s.
func appendSignal(b []byte, typ string, s *signal) ([]byte, error) {
	b = appendString(append(b, `{"type":`...), typ)
	b = appendString(append(b, `,"data":{"roomId":`...), s.RoomID)
	b = appendString(append(b, `,"from":`...), s.From)
	b = append(s.At.AppendFormat(append(b, `,"at":"`...), "2006-01-02T15:04:05.999999999Z07:00"), '"')
	if s.Offer > 0 {
		b = strconv.AppendUint(append(b, `,"offer":`...), s.Offer, 10)
	}
	if s.Description != nil {
		b = appendString(append(b, `,"description":{"type":`...), s.Description.Type)
		b = append(b, `,"sdp":`...)
		if s.sdp != nil {
			b = append(b, s.sdp...)
		} else {
			b = appendString(b, s.Description.SDP)
		}
		b = append(b, '}')
	}
	for _, c := range []struct {
		name string
		v    any
		have bool
	}{{"candidate", s.Candidate, s.Candidate != nil}, {"candidates", s.Candidates, len(s.Candidates) > 0}} {
		if !c.have {
			continue
		}
		v, err := json.Marshal(c.v)
		if err != nil {
			return nil, err
		}
		b = append(append(append(append(b, `,"`...), c.name...), `":`...), v...)
	}
	return append(b, "}}"...), nil
}
