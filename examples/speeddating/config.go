package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// config is every knob of the platform. Each is a flag and an environment
// variable: -max-connections is also PLIMSOLL_MAX_CONNECTIONS; a flag wins.
type config struct {
	addr           string
	probeAddr      string
	db             string
	backup         string
	redis          string
	memoryLimit    int64 // bytes; 0: the cgroup's limit, else 512 MiB
	giveUpAfter    time.Duration
	maxConnections int
	maxPerUser     int
	maxPerAddr     int
	trustedProxies []netip.Prefix
	turnSecrets    []string
	turnURLs       []string
	adminToken     string
	allowedOrigins []string
	drain          time.Duration
	logLevel       slog.Level
	bots           int
	savings        savings

	// rules are no flags: tests shorten them, nobody else should.
	rules dating.Rules
	// watch is for the test that measures the caches.
	watch func(dating.CacheUse)
}

// knob binds one flag to its field.
type knob struct {
	name  string
	usage string
	set   func(*config, string) error
	value string // the default, as one would type it
}

var knobs = []knob{
	{"addr", "where to listen; port 0 picks a free one", text(func(c *config) *string { return &c.addr }), ":8080"},
	{"probe-addr", "a second address for /healthz, /readyz, /health and /metrics alone, which no crowd can fill", text(func(c *config) *string { return &c.probeAddr }), ""},
	{"db", "an SQLite file, or postgres://user:password@host/database", text(func(c *config) *string { return &c.db }), "speeddating.db"},
	{"backup", "write a copy of the -db file here and exit; the server that uses it may go on", text(func(c *config) *string { return &c.backup }), ""},
	{"redis", "redis://… joins several processes on one -db postgres://…; of a Redis Cluster any server, and others as ?addr=host:port; empty: one process", text(func(c *config) *string { return &c.redis }), ""},
	{"memory-limit", "the budget of the process, like 256MiB; empty: the cgroup's limit, else 512MiB", size(func(c *config) *int64 { return &c.memoryLimit }), ""},
	{"give-up-after", "end, with what holds the memory, after so long at critical that nothing lowers; 0: never", duration(func(c *config) *time.Duration { return &c.giveUpAfter }), "0s"},
	{"max-connections", "sockets in all", number(func(c *config) *int { return &c.maxConnections }), "1200"},
	{"max-per-user", "sockets of one user; one more closes the oldest", number(func(c *config) *int { return &c.maxPerUser }), "2"},
	{"max-per-address", "sockets from one address (IPv6: one /64)", number(func(c *config) *int { return &c.maxPerAddr }), "1200"},
	{"trusted-proxies", "networks whose X-Forwarded-For is believed, like 10.0.0.0/8,127.0.0.1/32", prefixes(func(c *config) *[]netip.Prefix { return &c.trustedProxies }), ""},
	{"turn-secret", "the shared secret of coturn (static-auth-secret); several, comma-separated, while it is rotated", list(func(c *config) *[]string { return &c.turnSecrets }), ""},
	{"turn-urls", "stun: URLs handed out to everybody, turn: and turns: URLs handed out with credentials", list(func(c *config) *[]string { return &c.turnURLs }), ""},
	{"admin-token", "opens the routes below /admin; empty: they do not exist", text(func(c *config) *string { return &c.adminToken }), ""},
	{"allowed-origins", "other origins whose pages may connect, like https://app.example.com", list(func(c *config) *[]string { return &c.allowedOrigins }), ""},
	{"drain", "how long a stopping server spreads its goodbyes over", duration(func(c *config) *time.Duration { return &c.drain }), "3s"},
	{"log-level", "debug, info, warn or error", level(func(c *config) *slog.Level { return &c.logLevel }), "info"},
	{"savings", "ways to send less: all, none, or some of http,socket,payload,delta,batch", saved(func(c *config) *savings { return &c.savings }), "all"},
	{"bots", "simulated people that take part", number(func(c *config) *int { return &c.bots }), "0"},
}

// parseConfig reads the defaults, then the environment, then the flags. Every
// fault is reported, not only the first.
func parseConfig(args []string, getenv func(string) string, output io.Writer) (config, error) {
	c := config{}
	given := make(map[string]string, len(knobs))
	flags := flag.NewFlagSet("speeddating", flag.ContinueOnError)
	flags.SetOutput(output)
	for _, k := range knobs {
		usage := fmt.Sprintf("%s (%s)", k.usage, environmentName(k.name))
		if k.value != "" {
			usage += fmt.Sprintf(", default %s", k.value)
		}
		flags.Func(k.name, usage, func(v string) error { given[k.name] = v; return nil })
	}
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	for _, k := range knobs {
		v, from := k.value, "default of -"+k.name
		if env := getenv(environmentName(k.name)); env != "" {
			v, from = env, environmentName(k.name)
		}
		if flagged, ok := given[k.name]; ok {
			v, from = flagged, "-"+k.name
		}
		if err := k.set(&c, v); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", from, err))
		}
	}
	if c.memoryLimit != 0 && c.memoryLimit < leastLimit {
		errs = append(errs, errLimit)
	}
	for _, o := range c.allowedOrigins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || strings.Contains(o, "*") {
			errs = append(errs, fmt.Errorf("-allowed-origins: %q is no origin like https://app.example.com", o))
		}
	}
	for _, u := range c.turnURLs {
		if scheme, rest, _ := strings.Cut(u, ":"); rest == "" || !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, scheme) {
			errs = append(errs, fmt.Errorf("-turn-urls: %q is none like turn:turn.example.com:3478", u))
		}
	}
	if len(c.turnSecrets) > 0 && len(c.turnURLs) == 0 {
		errs = append(errs, errors.New("-turn-secret needs -turn-urls"))
	}
	if c.redis != "" {
		if err := bus.CheckAddress(c.redis); err != nil {
			errs = append(errs, fmt.Errorf("-redis: %w", err))
		}
	}
	return c, errors.Join(errs...)
}

func environmentName(flag string) string {
	return "PLIMSOLL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func text(field func(*config) *string) func(*config, string) error {
	return func(c *config, v string) error { *field(c) = v; return nil }
}

func list(field func(*config) *[]string) func(*config, string) error {
	return func(c *config, v string) error { *field(c) = split(v); return nil }
}

func split(v string) []string {
	var out []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func number(field func(*config) *int) func(*config, string) error {
	return func(c *config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a whole number ≥ 0", v)
		}
		*field(c) = n
		return nil
	}
}

func duration(field func(*config) *time.Duration) func(*config, string) error {
	return func(c *config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration like 3s", v)
		}
		*field(c) = d
		return nil
	}
}

func level(field func(*config) *slog.Level) func(*config, string) error {
	return func(c *config, v string) error { return field(c).UnmarshalText([]byte(v)) }
}

func prefixes(field func(*config) *[]netip.Prefix) func(*config, string) error {
	return func(c *config, v string) error {
		var errs []error
		for _, part := range split(v) {
			p, err := netip.ParsePrefix(part)
			if err != nil {
				if a, addrErr := netip.ParseAddr(part); addrErr == nil {
					p, err = netip.PrefixFrom(a, a.BitLen()), nil
				}
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%q is no network like 10.0.0.0/8", part))
				continue
			}
			*field(c) = append(*field(c), p.Masked())
		}
		return errors.Join(errs...)
	}
}

// size reads bytes with an optional unit: 268435456, 256MiB, 256MB, 1GiB.
func size(field func(*config) *int64) func(*config, string) error {
	units := []struct {
		suffix string
		bytes  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}}
	return func(c *config, v string) error {
		if v == "" {
			*field(c) = 0
			return nil
		}
		for _, u := range units {
			digits, ok := strings.CutSuffix(v, u.suffix)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil || n <= 0 || n > (1<<62)/u.bytes {
				break
			}
			*field(c) = n * u.bytes
			return nil
		}
		return fmt.Errorf("%q is no size like 256MiB", v)
	}
}
