package bus

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Connect gives a client for redis://…, rediss://… or, for a Redis Cluster, the
// address of any of its servers and others as ?addr=host:port. It asks which of
// the two it is. Calls of the client end with their context.
func Connect(ctx context.Context, address string) (redis.UniversalClient, error) {
	base, query, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(base)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.PoolSize, o.MaxRetries = true, time.Second, 2*time.Second, 48, 1
	c := redis.NewClient(o)
	err = c.ClusterInfo(ctx).Err()
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "cluster support disabled"):
		return c, nil
	default:
		c.Close()
		return nil, fmt.Errorf("bus: redis: %w", err)
	}
	c.Close()
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: append([]string{o.Addr}, query["addr"]...), Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		ContextTimeoutEnabled: true, DialTimeout: time.Second, ReadTimeout: 2 * time.Second, PoolSize: 48,
	}), nil
}

// CheckAddress reports what is wrong with an address for Connect.
func CheckAddress(address string) error {
	base, _, err := parseAddress(address)
	if err == nil {
		_, err = redis.ParseURL(base)
	}
	return err
}

// parseAddress takes the addresses of a Cluster's other servers off.
func parseAddress(address string) (base string, query url.Values, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, fmt.Errorf("bus: %w", err)
	}
	query = u.Query()
	rest := u.Query()
	rest.Del("addr")
	u.RawQuery = rest.Encode()
	return u.String(), query, nil
}
