package connmgr

import "time"

// A rate is a token bucket in the form of the generic cell rate algorithm
// (ITU-T I.371, "virtual scheduling"): one time stamp per bucket says it all.
// A full bucket holds burst tokens and gains one each gap.
type rate struct {
	gap   int64 // nanoseconds for one token; 0: not limited
	slack int64 // how far a bucket's time may run ahead: (burst-1) gaps
}

func newRate(perSecond float64, burst int) rate {
	if perSecond <= 0 {
		return rate{}
	}
	gap := max(int64(float64(time.Second)/perSecond), 1)
	return rate{gap: gap, slack: int64(max(burst, 1)-1) * gap}
}

// wait returns how long after now the bucket with time tat has a token.
func (r rate) wait(tat, now int64) time.Duration {
	return time.Duration(max(tat-now-r.slack, 0))
}

// take returns the bucket's time after one token was taken.
func (r rate) take(tat, now int64) int64 {
	return max(tat, now) + r.gap
}

// rates keeps a bucket for each address, for at most max addresses. A full
// bucket needs no memory. When all max buckets are in use, the address that
// connected least recently is forgotten, that is, gets a full bucket.
// Not safe for concurrent use.
type rates struct {
	rate
	max       int
	buckets   buckets
	entries   slab[bucket, *bucket]
	lru       uint32 // ring, least recently used first
	forgotten uint64
}

type bucket struct {
	key   uint64
	tat   int64
	chain uint32
	next  uint32
	prev  uint32
}

func (b *bucket) link() *uint32 { return &b.chain }

func newRates(perSecond float64, burst, maxAddrs int) rates {
	r := rates{rate: newRate(perSecond, burst), max: maxAddrs}
	if r.gap > 0 {
		r.buckets = newBuckets(maxAddrs)
	}
	return r
}

func (r *rates) find(key uint64) uint32 {
	for i := *bucketOf(&r.buckets, key); i != 0; {
		b := r.entries.at(i)
		if b.key == key {
			return i
		}
		i = b.chain
	}
	return 0
}

// wait returns how long key has to wait for a token, 0 if there is one.
func (r *rates) wait(key uint64, now int64) time.Duration {
	if r.gap == 0 {
		return 0
	}
	if i := r.find(key); i != 0 {
		return r.rate.wait(r.entries.at(i).tat, now)
	}
	return 0
}

// take takes one token of key. It also removes up to two buckets that have
// become full, so that they go faster than they come.
func (r *rates) take(key uint64, now int64) {
	if r.gap == 0 {
		return
	}
	i := r.find(key)
	if i == 0 {
		for range 2 {
			if r.lru != 0 && r.entries.at(r.lru).tat <= now {
				r.remove(r.lru)
			}
		}
		if r.entries.live >= r.max {
			r.remove(r.lru)
			r.forgotten++
		}
		i = r.entries.alloc()
		b := r.entries.at(i)
		head := bucketOf(&r.buckets, key)
		b.key, b.chain = key, *head
		*head = i
	} else {
		r.unlink(i)
	}
	b := r.entries.at(i)
	b.tat = r.rate.take(b.tat, now)
	if r.lru == 0 {
		r.lru, b.next, b.prev = i, i, i
		return
	}
	first := r.entries.at(r.lru)
	b.next, b.prev = r.lru, first.prev
	r.entries.at(first.prev).next = i
	first.prev = i
}

func (r *rates) unlink(i uint32) {
	b := r.entries.at(i)
	if b.next == i {
		r.lru = 0
		return
	}
	r.entries.at(b.prev).next = b.next
	r.entries.at(b.next).prev = b.prev
	if r.lru == i {
		r.lru = b.next
	}
}

func (r *rates) remove(i uint32) {
	r.unlink(i)
	b := r.entries.at(i)
	p := bucketOf(&r.buckets, b.key)
	for *p != i {
		p = &r.entries.at(*p).chain
	}
	*p = b.chain
	r.entries.release(i)
}
