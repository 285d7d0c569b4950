package connmgr

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func proxied(t testing.TB, header string) *Manager {
	m, err := New(Options{
		MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 10,
		TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		ForwardedHeader: header,
	})
	require.NoError(t, err)
	return m
}

func TestClientAddr(t *testing.T) {
	tests := []struct {
		name, header, remote string
		values               []string
		want                 string
	}{
		{"direct", "", "203.0.113.7:4711", nil, "203.0.113.7"},
		{"direct IPv6 with zone", "", "[fe80::1%eth0]:4711", nil, "fe80::1"},
		{"mapped", "", "[::ffff:203.0.113.7]:1", nil, "203.0.113.7"},
		{"stranger with a header", "", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		{"one proxy", "", "10.0.0.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"mapped proxy", "", "[::ffff:10.0.0.1]:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"spoofed in front", "", "10.0.0.1:80", []string{"1.2.3.4, 198.51.100.1"}, "198.51.100.1"},
		{"spoofed as a proxy", "", "10.0.0.1:80", []string{"1.2.3.4, 10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "", "10.0.0.1:80", []string{"1.2.3.4, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"two lines", "", "10.0.0.1:80", []string{"1.2.3.4", "198.51.100.1,10.0.0.2"}, "198.51.100.1"},
		{"two lines, all trusted in the last", "", "10.0.0.1:80", []string{"198.51.100.1", "10.0.0.3, 10.0.0.2"}, "198.51.100.1"},
		{"only proxies", "", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no header", "", "10.0.0.1:80", nil, "10.0.0.1"},
		{"empty header", "", "10.0.0.1:80", []string{""}, "10.0.0.1"},
		{"nonsense ends the search", "", "10.0.0.1:80", []string{"198.51.100.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"port", "", "10.0.0.1:80", []string{"198.51.100.1:1234"}, "198.51.100.1"},
		{"IPv6 port", "", "10.0.0.1:80", []string{"[2001:db8::1]:1234"}, "2001:db8::1"},
		{"IPv6 brackets", "", "10.0.0.1:80", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv4 brackets", "", "10.0.0.1:80", []string{"[1.2.3.4]"}, "10.0.0.1"},
		{"Forwarded ignored", "", "10.0.0.1:80", nil, "10.0.0.1"},
		{"Forwarded", "Forwarded", "10.0.0.1:80", []string{`for=1.2.3.4, For="[2001:db8::1]:99";proto=https;by=10.0.0.1`}, "2001:db8::1"},
		{"Forwarded hidden", "Forwarded", "10.0.0.1:80", []string{`for=_hidden`}, "10.0.0.1"},
		{"Forwarded without for", "Forwarded", "10.0.0.1:80", []string{`for=1.2.3.4, proto=https`}, "10.0.0.1"},
		{"Forwarded quoted comma", "Forwarded", "10.0.0.1:80", []string{`for="1.2.3.4, for=5.6.7.8"`}, "10.0.0.1"},
		{"X-Real-IP", "X-Real-IP", "[fd00::1]:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"unix", "", "@", []string{"198.51.100.1"}, "invalid IP"},
		{"empty", "", "", nil, "invalid IP"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := proxied(t, test.header)
			name := test.header
			if name == "" {
				name = "X-Forwarded-For"
			}
			r := &http.Request{RemoteAddr: test.remote, Header: http.Header{}}
			for _, v := range test.values {
				r.Header.Add(name, v)
			}
			require.Equal(t, test.want, m.ClientAddr(r).String())
		})
	}
}

// FuzzClientAddr: whatever stands in front of the address that the trusted
// proxy wrote has no influence.
func FuzzClientAddr(f *testing.F) {
	for _, s := range []string{"", "1.2.3.4", "1.2.3.4, ", ",,,", `for="[::1`, `"`, "10.0.0.1, 10.0.0.2", "[::1]:80", "unknown", "=;=;"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, forwarded bool) {
		name, entry := "X-Forwarded-For", "198.51.100.1"
		if forwarded {
			name, entry = "Forwarded", "for=198.51.100.1"
		}
		m := proxied(t, name)
		r := &http.Request{RemoteAddr: "10.0.0.1:80", Header: http.Header{name: {s + "," + entry}}}
		require.Equal(t, "198.51.100.1", m.ClientAddr(r).String())

		r.Header = http.Header{name: {s, entry}}
		require.Equal(t, "198.51.100.1", m.ClientAddr(r).String())

		// Alone it gives some address without a zone, and the proxy's own if
		// there is nothing to parse.
		r.Header = http.Header{name: {s}}
		got := m.ClientAddr(r)
		require.True(t, got.IsValid())
		require.Empty(t, got.Zone())
		require.False(t, got.Is4In6())
		if !strings.ContainsAny(s, ".:") {
			require.Equal(t, "10.0.0.1", got.String())
		}
	})
}

func TestAddrKey(t *testing.T) {
	key := func(s string) uint64 { return addrKey(netip.MustParseAddr(s), 64) }
	require.Equal(t, key("2001:db8::1"), key("2001:db8::ffff:1"))
	require.NotEqual(t, key("2001:db8::1"), key("2001:db8:0:1::1"))
	require.Equal(t, key("1.2.3.4"), key("::ffff:1.2.3.4"))
	require.NotEqual(t, key("1.2.3.4"), key("1.2.3.5"))
	require.NotEqual(t, key("0.0.0.0"), key("::"))
	require.Equal(t, addrKey(netip.MustParseAddr("2001:db8:0:1::1"), 48), addrKey(netip.MustParseAddr("2001:db8:0:2::1"), 48))
	require.NotEqual(t, addrKey(netip.MustParseAddr("8000::"), 1), addrKey(netip.MustParseAddr("::"), 1))
}
