package signaling

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// TURN makes time-limited credentials for a TURN server that shares a secret
// with us, as coturn's use-auth-secret expects them: the username is
// "expiry:user", the password the base64 of its HMAC-SHA1.
type TURN struct {
	// URLs are the servers: "turn:turn.example.org:3478?transport=udp", "stun:…".
	// Only the turn: and turns: ones get credentials.
	URLs []string
	// Secrets are the shared secrets, the newest first. The first one signs.
	// To rotate: add the new one to the TURN server, put it first here, and
	// take the old one off the server after Lifetime.
	Secrets []string
	// Lifetime of credentials. Default 1 h. The server looks at them when an
	// allocation is made, so a call outlives them; but a new allocation, an ICE
	// restart for instance, needs fresh ones.
	Lifetime time.Duration
}

// ICEServer is one entry of a browser's RTCConfiguration.iceServers.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// TURNCredentials are what one user gets.
type TURNCredentials struct {
	ICEServers []ICEServer `json:"iceServers"`
	// ExpiresAt is when they end, RenewAt when to ask for new ones: in time for
	// a clock of the TURN server that is some minutes ahead.
	ExpiresAt time.Time `json:"expiresAt"`
	RenewAt   time.Time `json:"renewAt"`
}

// Credentials returns credentials for user, valid from now on for Lifetime.
// Without TURN servers or secrets only the STUN servers are returned.
func (t TURN) Credentials(user string, now time.Time) (TURNCredentials, error) {
	if t.Lifetime < 0 {
		return TURNCredentials{}, fmt.Errorf("signaling: TURN.Lifetime = %v, want >= 0", t.Lifetime)
	}
	life := t.Lifetime
	if life == 0 {
		life = time.Hour
	}
	expires := now.Add(life).Truncate(time.Second)
	c := TURNCredentials{ICEServers: []ICEServer{}, ExpiresAt: expires, RenewAt: now.Add(life * 3 / 4)}
	var stun, turn []string
	for _, u := range t.URLs {
		switch scheme, _, _ := strings.Cut(u, ":"); scheme {
		case "stun", "stuns":
			stun = append(stun, u)
		case "turn", "turns":
			turn = append(turn, u)
		default:
			return TURNCredentials{}, fmt.Errorf("signaling: TURN.URLs has %q, want a scheme of stun, stuns, turn or turns", u)
		}
	}
	if len(stun) > 0 {
		c.ICEServers = append(c.ICEServers, ICEServer{URLs: stun})
	}
	if len(turn) > 0 && len(t.Secrets) > 0 {
		if t.Secrets[0] == "" {
			return TURNCredentials{}, errors.New("signaling: TURN.Secrets holds an empty secret")
		}
		name := fmt.Sprintf("%d:%s", expires.Unix(), user)
		c.ICEServers = append(c.ICEServers, ICEServer{URLs: turn, Username: name, Credential: turnPassword(t.Secrets[0], name)})
	}
	return c, nil
}

// Valid reports whether a TURN server with these secrets would accept the
// credentials at the given time.
func (t TURN) Valid(username, credential string, now time.Time) bool {
	left, _, _ := strings.Cut(username, ":")
	var expires int64
	if _, err := fmt.Sscanf(left, "%d", &expires); err != nil || now.Unix() >= expires {
		return false
	}
	ok := false
	for _, secret := range t.Secrets {
		ok = ok || secret != "" && hmac.Equal([]byte(turnPassword(secret, username)), []byte(credential))
	}
	return ok
}

func turnPassword(secret, name string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(name))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
