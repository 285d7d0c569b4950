package connmgr

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Refuse answers a request that Admit refused with err: 503 Service
// Unavailable with Retry-After in whole seconds (RFC 9110, section 10.2.3),
// and closes its TCP connection. A browser shows neither to a script, which
// sees the close code 1006 only: see [Manager.BeginRefuse].
func (m *Manager) Refuse(w http.ResponseWriter, _ *http.Request, err error) {
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(int((m.retryAfter(err)+time.Second-1)/time.Second)))
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, "try again later: "+cause(err))
}

// BeginRefuse takes one of Options.MaxRefusing places for telling a browser
// why: upgrade, call [Manager.RefuseConn], and call done when the connection
// has ended. If ok is false all are taken: call Refuse, which costs less.
func (m *Manager) BeginRefuse() (done func(), ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusing >= m.opt.MaxRefusing {
		return nil, false
	}
	m.refusing++
	m.totals.toldLater++
	released := false
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !released {
			released = true
			m.refusing--
		}
	}, true
}

// RefuseConn closes a connection that was upgraded only to be told: code 1013,
// and a reason that ends in when to come back, for [ParseHint].
func (m *Manager) RefuseConn(conn Conn, err error) error {
	return conn.Close(CloseTryAgainLater, formatHint(cause(err), m.retryAfter(err)))
}

// retryAfter returns the hint in err, or a new one.
func (m *Manager) retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*LimitError](err); ok && e.RetryAfter > 0 {
		return e.RetryAfter
	}
	return m.jitter()
}

// cause is what a stranger may know of err.
func cause(err error) string {
	if e, ok := errors.AsType[*LimitError](err); ok {
		return e.What.String()
	}
	return "overload"
}

const hintPrefix = "retry-after="

// hintReason is a close reason with a hint of its own.
func (m *Manager) hintReason(why string) string { return formatHint(why, m.jitter()) }

func formatHint(why string, after time.Duration) string {
	return why + "; " + hintPrefix + strconv.FormatFloat(after.Seconds(), 'f', 2, 64)
}

// ParseHint returns the time in a close reason that a Manager wrote, such as
// "server restarts; retry-after=4.12". Clients that cannot use this package
// look for the seconds behind "retry-after=".
func ParseHint(reason string) (time.Duration, bool) {
	_, number, ok := strings.Cut(reason, hintPrefix)
	if !ok {
		return 0, false
	}
	s, err := strconv.ParseFloat(number, 64)
	if err != nil || !(s >= 0 && s <= 1e9) {
		return 0, false
	}
	return time.Duration(s * float64(time.Second)), true
}
