package load

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// balancer spreads connections over the servers of one platform, as a load
// balancer without sticky sessions does: in turn, to those whose /readyz says
// that they are ready.
type balancer struct {
	urls  []string
	hosts []string
	ready []atomic.Bool
	next  atomic.Uint64
}

func newBalancer(first string, more []string) *balancer {
	b := &balancer{urls: append([]string{first}, more...)}
	b.ready = make([]atomic.Bool, len(b.urls))
	for i, s := range b.urls {
		u, _ := url.Parse(s) // withDefaults has
		b.hosts = append(b.hosts, u.Host)
		b.ready[i].Store(true)
	}
	return b
}

// watch asks the servers four times a second, until ctx ends.
func (b *balancer) watch(ctx context.Context) {
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for wait(ctx, 250*time.Millisecond) {
		var wg sync.WaitGroup
		for i, base := range b.urls {
			wg.Go(func() {
				res, err := client.Get(base + "/readyz")
				if err == nil {
					res.Body.Close()
				}
				b.ready[i].Store(err == nil && res.StatusCode == http.StatusOK)
			})
		}
		wg.Wait()
	}
}

// host gives the address of the next ready server, of any if none is. After a
// failed one the next call gives another.
func (b *balancer) host() string {
	n := uint64(len(b.hosts))
	first := b.next.Add(1)
	for i := range n {
		if at := (first + i) % n; b.ready[at].Load() {
			return b.hosts[at]
		}
	}
	return b.hosts[first%n]
}
