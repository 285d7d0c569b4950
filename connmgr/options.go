package connmgr

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Policy says what happens when a user who is at the limit connects again.
type Policy uint8

const (
	// Refuse refuses the new connection.
	Refuse Policy = iota
	// EvictOldest closes the user's oldest connection with code 4001 and
	// gives its place to the new one.
	EvictOldest
)

// Account is asked for memory before it is used.
type Account interface {
	// Reserve takes bytes or returns an error at once; it never waits.
	Reserve(bytes int64) error
	// Release gives bytes back.
	Release(bytes int64)
}

// Options configures a [Manager]. It is copied by [New] and never changed.
type Options struct {
	// MaxConns bounds the connections that are admitted at the same time.
	// Required, > 0.
	MaxConns int

	// MaxPerUser bounds the connections of one Request.User.
	// Required, 1 to 65535.
	MaxPerUser int

	// PerUser says what happens at MaxPerUser. Default Refuse.
	PerUser Policy

	// MaxPerAddr bounds the connections of one Request.Addr: one IPv4 address
	// or one IPv6 network of IPv6Prefix bits. Required, > 0. Mind that a
	// school or a mobile carrier can stand behind one address.
	MaxPerAddr int

	// MaxPerKey bounds the connections of one Request.Key. With 0 a request
	// that has a Key is an error.
	MaxPerKey int

	// MaxUnauthenticated bounds the connections without a user: their own
	// small share of MaxConns. Default a tenth of MaxConns, at least 1.
	MaxUnauthenticated int

	// AuthDeadline is how long a connection may stay without a user before
	// it is closed with code 1008. Default 10 s.
	AuthDeadline time.Duration

	// MaxClosing bounds the evicted connections that are not released yet:
	// their places are taken, but they still are sockets. So a Manager never
	// has more than MaxConns + MaxClosing. Default a sixteenth of MaxConns,
	// at least 16.
	MaxClosing int

	// Rate bounds how many connections are admitted a second, from all
	// addresses together, after the first Burst. 0 means any rate.
	Rate float64
	// Burst is how many may come at once. Default one second's worth of Rate.
	Burst int

	// RatePerAddr and BurstPerAddr do the same for each address.
	RatePerAddr  float64
	BurstPerAddr int

	// MaxRateAddrs bounds the addresses whose rate is remembered, 32 bytes
	// each. When more connect within the time that their buckets need to
	// fill, the one that connected least recently is forgotten.
	// Default 65536.
	MaxRateAddrs int

	// IPv6Prefix is how many bits of an IPv6 address make one client,
	// 1 to 64. Default 64, which is what one household or host gets.
	IPv6Prefix int

	// TrustedProxies are the networks whose ForwardedHeader is believed.
	// Default none.
	TrustedProxies []netip.Prefix

	// ForwardedHeader names the header in which trusted proxies write the
	// client's address: "X-Forwarded-For" (the default), "Forwarded"
	// (RFC 7239), or any other that holds an address or a list of them with
	// the nearest last. Only name a header that your proxy sets or removes.
	ForwardedHeader string

	// Accept bounds what Listener lets in. Its zero value takes the defaults
	// written on its fields.
	Accept AcceptOptions

	// MaxRefusing bounds the connections that are being told 1013 at the
	// same time, see [Manager.BeginRefuse]. Default 64.
	MaxRefusing int

	// RetryAfter is about when a refused client shall come back: it is told
	// a random time from half of it to one and a half. Default 4 s.
	RetryAfter time.Duration

	// DrainOver is the time over which Shutdown spreads its closes.
	// Default 5 s.
	DrainOver time.Duration

	// DrainCode is the close code of a drain: 1012, service restart (the
	// default), or 1001, going away.
	DrainCode int

	// Account, if set, is asked for BytesPerConn for each connection, from
	// before Admit returns until Release.
	Account Account
	// BytesPerConn is what one connection costs the caller.
	// Required, > 0, with Account.
	BytesPerConn int64

	// Shared, if set, holds limits across servers too.
	Shared *SharedOptions

	// Logger receives evictions and refusals at Debug and drains at Info.
	// Default silent.
	Logger *slog.Logger
}

// AcceptOptions bounds the connections behind a [Manager.Listener], plain
// HTTP requests included.
type AcceptOptions struct {
	// MaxConns bounds the open connections. Default twice Options.MaxConns.
	MaxConns int
	// MaxPerAddr bounds those of one address that is not a trusted proxy.
	// Default twice Options.MaxPerAddr plus 8.
	MaxPerAddr int
	// Rate and Burst bound all new connections a second. Default any rate.
	Rate  float64
	Burst int
	// RatePerAddr and BurstPerAddr bound those of one address that is not a
	// trusted proxy. Default any rate.
	RatePerAddr  float64
	BurstPerAddr int

	// Account, if set, is asked for BytesPerConn for each connection, from
	// before it is accepted until it is closed or hijacked: see
	// [Manager.ConnState]. A client needs to send nothing for that memory to
	// be used.
	Account Account
	// BytesPerConn is what net/http needs for one connection: some 20 KiB for
	// its goroutine and buffers, and as much of the header as
	// http.Server.MaxHeaderBytes allows. Required, > 0, with Account.
	BytesPerConn int64
}

// maxConns is the largest MaxConns + MaxClosing: slots have 32-bit numbers.
const maxConns = math.MaxInt32

func (o Options) withDefaults() (Options, error) {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.MaxUnauthenticated, max(o.MaxConns/10, 1))
	def(&o.MaxClosing, max(o.MaxConns/16, 16))
	def(&o.Burst, burstOf(o.Rate))
	def(&o.BurstPerAddr, burstOf(o.RatePerAddr))
	def(&o.MaxRateAddrs, 65536)
	def(&o.IPv6Prefix, 64)
	def(&o.Accept.MaxConns, min(2*min(o.MaxConns, maxConns), maxConns))
	def(&o.Accept.MaxPerAddr, min(2*min(o.MaxPerAddr, maxConns)+8, maxConns))
	def(&o.Accept.Burst, burstOf(o.Accept.Rate))
	def(&o.Accept.BurstPerAddr, burstOf(o.Accept.RatePerAddr))
	def(&o.MaxRefusing, 64)
	def(&o.DrainCode, CloseServiceRestart)
	if o.AuthDeadline == 0 {
		o.AuthDeadline = 10 * time.Second
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = 4 * time.Second
	}
	if o.DrainOver == 0 {
		o.DrainOver = 5 * time.Second
	}
	if o.ForwardedHeader == "" {
		o.ForwardedHeader = "X-Forwarded-For"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.TrustedProxies = slices.Clone(o.TrustedProxies)

	var errs []error
	within := func(field string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("connmgr: Options.%s = %d, want %d to %d", field, v, lo, hi))
		}
	}
	within("MaxConns", o.MaxConns, 1, maxConns)
	within("MaxPerUser", o.MaxPerUser, 1, math.MaxUint16)
	within("MaxPerAddr", o.MaxPerAddr, 1, maxConns)
	within("MaxPerKey", o.MaxPerKey, 0, maxConns)
	within("MaxUnauthenticated", o.MaxUnauthenticated, 1, maxConns)
	within("MaxClosing", o.MaxClosing, 1, maxConns)
	within("MaxRateAddrs", o.MaxRateAddrs, 1, maxConns)
	within("MaxRefusing", o.MaxRefusing, 1, maxConns)
	within("IPv6Prefix", o.IPv6Prefix, 1, 64)
	within("Accept.MaxConns", o.Accept.MaxConns, 1, maxConns)
	within("Accept.MaxPerAddr", o.Accept.MaxPerAddr, 1, maxConns)
	rates := func(field string, perSecond float64, burst int) {
		// A gap of at least a nanosecond, and a full bucket within 30 years.
		if !(perSecond >= 0 && perSecond <= 1e9) || perSecond > 0 && float64(burst)/perSecond > 1e9 {
			errs = append(errs, fmt.Errorf("connmgr: Options.%s = %v, want 0 to 1e9 a second and a burst that takes less than 1e9 seconds", field, perSecond))
		}
		if burst < 0 {
			errs = append(errs, fmt.Errorf("connmgr: Options.%s with a burst of %d, want >= 0", field, burst))
		}
	}
	rates("Rate", o.Rate, o.Burst)
	rates("RatePerAddr", o.RatePerAddr, o.BurstPerAddr)
	rates("Accept.Rate", o.Accept.Rate, o.Accept.Burst)
	rates("Accept.RatePerAddr", o.Accept.RatePerAddr, o.Accept.BurstPerAddr)
	if o.MaxConns > 0 && o.MaxClosing > maxConns-min(o.MaxConns, maxConns) {
		errs = append(errs, fmt.Errorf("connmgr: Options.MaxConns + MaxClosing = %d, want <= %d", o.MaxConns+o.MaxClosing, maxConns))
	}
	positive := func(field string, d time.Duration) {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("connmgr: Options.%s = %v, want > 0", field, d))
		}
	}
	positive("AuthDeadline", o.AuthDeadline)
	positive("RetryAfter", o.RetryAfter)
	positive("DrainOver", o.DrainOver)
	if o.PerUser > EvictOldest {
		errs = append(errs, fmt.Errorf("connmgr: Options.PerUser = %d, want Refuse or EvictOldest", o.PerUser))
	}
	if o.DrainCode != CloseServiceRestart && o.DrainCode != CloseGoingAway {
		errs = append(errs, fmt.Errorf("connmgr: Options.DrainCode = %d, want %d or %d", o.DrainCode, CloseServiceRestart, CloseGoingAway))
	}
	if o.Account != nil && o.BytesPerConn <= 0 {
		errs = append(errs, fmt.Errorf("connmgr: Options.BytesPerConn = %d, want > 0 with an Account", o.BytesPerConn))
	}
	if o.Accept.Account != nil && o.Accept.BytesPerConn <= 0 {
		errs = append(errs, fmt.Errorf("connmgr: Options.Accept.BytesPerConn = %d, want > 0 with an Account", o.Accept.BytesPerConn))
	}
	for _, p := range o.TrustedProxies {
		if !p.IsValid() {
			errs = append(errs, fmt.Errorf("connmgr: Options.TrustedProxies has %v, want valid prefixes", p))
		}
	}
	if o.Shared != nil {
		s, err := o.Shared.withDefaults()
		o.Shared = &s
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// burstOf is one second's worth of a rate, at least 1.
func burstOf(perSecond float64) int {
	if !(perSecond > 0 && perSecond <= 1e9) {
		return 0
	}
	return max(int(math.Ceil(perSecond)), 1)
}
