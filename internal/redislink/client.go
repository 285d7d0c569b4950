// Package redislink is what the Redis adapters share: which clients they take,
// how names are spread over the slots of a Redis Cluster, and subscriptions
// that are acknowledged, watched by probes and made again by themselves.
package redislink

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Check says what is wrong with a client, and whether it is one of a Cluster.
// pkg begins the error.
func Check(pkg string, client redis.UniversalClient) (cluster bool, err error) {
	var ends bool
	switch c := client.(type) {
	case *redis.Client:
		if c == nil {
			return false, fmt.Errorf("%s: client = nil, want one", pkg)
		}
		ends = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		if c == nil {
			return false, fmt.Errorf("%s: client = nil, want one", pkg)
		}
		cluster, ends = true, c.Options().ContextTimeoutEnabled
	default:
		return false, fmt.Errorf("%s: client = %T, want a *redis.Client or *redis.ClusterClient", pkg, client)
	}
	if !ends {
		return false, fmt.Errorf("%s: client's Options.ContextTimeoutEnabled = false, want true: a call must end with its context", pkg)
	}
	return cluster, nil
}

// Listen opens a connection that hears channels, which must be of one slot,
// and returns when the server has acknowledged them. It is closed when ctx ends.
func Listen(ctx context.Context, client redis.UniversalClient, timeout time.Duration, channels ...string) (*redis.PubSub, error) {
	ps := client.SSubscribe(ctx, channels...)
	stop := context.AfterFunc(ctx, func() { ps.Close() })
	for range channels {
		if _, err := ps.ReceiveTimeout(ctx, timeout); err != nil {
			stop()
			ps.Close()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
	}
	return ps, nil
}
