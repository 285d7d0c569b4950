package lru_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// FuzzOperations reads operations from bytes, runs them and checks bounds,
// answers and the inner state.
func FuzzOperations(f *testing.F) {
	f.Add([]byte("\x00seed of some operations on a small cache"))
	f.Add([]byte{1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 255, 255})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) < 2 || len(ops) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzz(t, ops) })
	})
}

func fuzz(t *testing.T, ops []byte) {
	entries, bytes := int(ops[1]%32)+1, int64(200)
	o := lru.Options[byte, string]{
		MaxEntries: entries, Policy: lru.Policy(ops[0] & 1), TTL: time.Second,
		Sliding: ops[0]&2 != 0, MaxBytes: bytes,
		Size: func(k byte, v string) int64 { return int64(len(v)) },
	}
	c, err := lru.New(o)
	require.NoError(t, err)
	last := map[byte]string{}
	for i := 2; i+1 < len(ops); i += 2 {
		op, key := ops[i]>>4, ops[i+1]
		v := string(ops[i+1 : min(len(ops), i+1+int(ops[i]&15))])
		switch op {
		case 0, 1, 2, 3:
			if got, ok := c.Get(key); ok {
				want, had := last[key]
				require.True(t, had)
				require.Equal(t, want, got)
			}
		case 4, 5, 6, 7:
			require.True(t, c.Set(key, v))
			last[key] = v
		case 8:
			c.SetWithTTL(key, v, time.Duration(ops[i]&15)*100*time.Millisecond)
			last[key] = v
		case 9:
			c.Delete(key)
			delete(last, key)
		case 10:
			time.Sleep(time.Duration(key) * 4 * time.Millisecond)
		case 11:
			c.Trim(float64(key) / 255)
		case 12:
			entries, bytes = int(key%64)+1, int64(key)+16
			require.NoError(t, c.Resize(entries, bytes))
		case 13:
			c.Compute(key, func(old string, ok bool) (string, lru.Op) {
				if ok {
					require.Equal(t, last[key], old)
				}
				return v, lru.OpSet
			})
			last[key] = v
		case 14:
			c.Sweep()
		case 15:
			for k, v := range c.All() {
				require.Equal(t, last[k], v)
			}
		}
		require.LessOrEqual(t, c.Len(), entries)
		require.LessOrEqual(t, c.Bytes(), bytes)
	}
	require.NoError(t, c.Check())
	c.Close()
	require.Zero(t, c.Len())
	require.Zero(t, c.Bytes())
}
