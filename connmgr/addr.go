package connmgr

import (
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddr returns the address that r comes from. That is the peer of its
// TCP connection, unless the peer is one of Options.TrustedProxies: then it is
// the last address in Options.ForwardedHeader that is not a trusted proxy, as
// everything before that one was written by strangers. What cannot be parsed
// ends the search: the answer is the last address that a trusted party wrote.
//
// It returns the zero Addr when r.RemoteAddr holds none, as with Unix sockets.
func (m *Manager) ClientAddr(r *http.Request) netip.Addr {
	peer := parseHop(r.RemoteAddr)
	if !m.trusts(peer) {
		return peer
	}
	lines := r.Header.Values(m.opt.ForwardedHeader)
	forwarded := strings.EqualFold(m.opt.ForwardedHeader, "Forwarded")
	for n := len(lines) - 1; n >= 0; n-- {
		for rest, more := lines[n], true; more; {
			var hop string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, hop = rest[:at], rest[at+1:]
			} else {
				hop, more = rest, false
			}
			if forwarded {
				hop = forParameter(hop)
			}
			addr := parseHop(strings.TrimSpace(hop))
			if !addr.IsValid() {
				return peer
			}
			if peer = addr; !m.trusts(peer) {
				return peer
			}
		}
	}
	return peer
}

func (m *Manager) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	for _, p := range m.opt.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// forParameter returns the value of for= in one element of a Forwarded header
// (RFC 7239, section 4), "" if there is none. A quoted comma or semicolon
// splits it in two halves that are no addresses.
func forParameter(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value
		}
	}
	return ""
}

// parseHop reads an address with or without a port or brackets. Its result
// has no zone, and IPv4 is never mapped into IPv6.
func parseHop(s string) netip.Addr {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone("")
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is6() {
			return a.Unmap().WithZone("")
		}
	}
	return netip.Addr{}
}

// addrOf returns the IP address of a, the zero Addr if it has none.
func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return parseHop(a.String())
}

// addrKey is addr as limits see it: an IPv6 network of bits bits, or an IPv4
// address in the network 0:ffff::/32, which is reserved and nobody's
// (RFC 4291, section 2.4).
func addrKey(addr netip.Addr, bits int) uint64 {
	addr = addr.Unmap()
	if addr.Is4() {
		b := addr.As4()
		return 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	return binary.BigEndian.Uint64(b[:]) &^ (1<<(64-bits) - 1)
}
