package main

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	env := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	c, err := parseConfig(nil, env(nil), io.Discard)
	require.NoError(t, err)
	require.Equal(t, []any{":8080", 1200, 2, int64(0), 3 * time.Second}, []any{c.addr, c.maxConnections, c.maxPerUser, c.memoryLimit, c.drain})

	c, err = parseConfig([]string{"-max-connections", "7", "-trusted-proxies", "10.0.0.0/8, 192.0.2.1"},
		env(map[string]string{"PLIMSOLL_MAX_CONNECTIONS": "9", "PLIMSOLL_MEMORY_LIMIT": "256MiB"}), io.Discard)
	require.NoError(t, err)
	require.Equal(t, 7, c.maxConnections, "a flag wins")
	require.EqualValues(t, 256<<20, c.memoryLimit)
	require.Len(t, c.trustedProxies, 2)

	_, err = parseConfig([]string{"-max-per-user", "x", "-memory-limit", "lots", "-allowed-origins", "*", "-turn-urls", "nonsense", "-log-level", "loud", "-drain", "-1s", "surplus"}, env(nil), io.Discard)
	for _, part := range []string{"max-per-user", "memory-limit", "allowed-origins", "turn-urls", "log-level", "drain", "surplus"} {
		require.ErrorContains(t, err, part, "every fault is named")
	}
	_, err = parseConfig([]string{"-memory-limit", "10MiB", "-drain", "-1s"}, env(nil), io.Discard)
	require.ErrorContains(t, err, "at least 48MiB", "beside the others")
	require.ErrorContains(t, err, "drain")
	for in, want := range map[string]int64{"268435456": 1 << 28, "1GiB": 1 << 30, "64 MB": 64e6, "1kB": 1000, "5B": 5} {
		var c config
		require.NoError(t, size(func(c *config) *int64 { return &c.memoryLimit })(&c, in))
		require.Equal(t, want, c.memoryLimit)
	}
}
