package compress

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of got, for the timers
		var got []string
		a := &testAccount{limit: 1000}
		b, err := NewBatcher(BatcherOptions{MaxMessages: 3, MaxBytes: 40, MaxDelay: 20 * time.Millisecond, Account: a}, func(batch []byte, n int) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%d %s", n, batch))
		})
		require.NoError(t, err)
		add := func(m string) { require.NoError(t, b.Add([]byte(m))) }
		next := func() (s string) {
			mu.Lock()
			defer mu.Unlock()
			require.NotEmpty(t, got)
			s, got = got[0], got[1:]
			return s
		}
		none := func() {
			mu.Lock()
			defer mu.Unlock()
			require.Empty(t, got)
		}
		add("1")
		time.Sleep(19 * time.Millisecond)
		synctest.Wait()
		none()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, "1 1", next(), "one message alone is no array")
		add("1")
		add("2")
		add("3")
		require.Equal(t, "3 [1,2,3]", next())
		time.Sleep(time.Second)
		synctest.Wait()
		none() // no late timer
		add(`"` + strings.Repeat("x", 20) + `"`)
		add(`"` + strings.Repeat("y", 20) + `"`)
		require.Contains(t, next(), "1 \"xxx", "bytes")
		long := `"` + strings.Repeat("z", 60) + `"`
		add(long)
		require.Contains(t, next(), "yyy")
		require.Equal(t, "1 "+long, next())
		add("4")
		a.limit = 0
		add("5") // no memory: goes at once, in order
		require.Equal(t, "2 [4,5]", next())
		a.limit = 1000
		add("6")
		b.Flush()
		require.Equal(t, "1 6", next())
		add("7")
		b.Close()
		b.Close()
		require.Equal(t, "1 7", next())
		require.ErrorIs(t, b.Add([]byte("8")), ErrClosed)
		require.Zero(t, a.used.Load())
		s := b.Stats()
		require.Equal(t, uint64(11), s.Messages)
		require.Equal(t, s.Batches, s.ByBytes+s.ByCount+s.ByDelay+s.ByFlush)
	})
}

func TestBatcherOrder(t *testing.T) {
	var got []int
	b, err := NewBatcher(BatcherOptions{MaxMessages: 7, MaxBytes: 1 << 20, MaxDelay: time.Microsecond}, func(batch []byte, n int) {
		if n == 1 {
			batch = []byte("[" + string(batch) + "]")
		}
		var list []int
		if err := json.Unmarshal(batch, &list); err != nil || len(list) != n {
			panic(err)
		}
		got = append(got, list...)
	})
	require.NoError(t, err)
	var mu sync.Mutex
	n := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				mu.Lock()
				b.Add(fmt.Append(nil, n))
				n++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	b.Close()
	require.Len(t, got, 2000)
	for i, v := range got {
		require.Equal(t, i, v)
	}
}

func TestDeduplicator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &testAccount{limit: 1 << 20}
		d, err := NewDeduplicator(DeduplicatorOptions{MaxKeys: 3, MaxAge: time.Minute, Account: a})
		require.NoError(t, err)
		require.True(t, d.New("a", []byte("1")))
		require.False(t, d.New("a", []byte("1")))
		require.True(t, d.New("a", []byte("2")))
		require.True(t, d.New("a", []byte("1")), "back is news")
		require.True(t, d.New("b", []byte("1")), "another key")
		d.Forget("b")
		require.True(t, d.New("b", []byte("1")))
		time.Sleep(time.Minute)
		require.True(t, d.New("a", []byte("1")), "too old")
		require.Equal(t, 1, d.Stats().Keys)
		for i := range 100 {
			require.True(t, d.New(fmt.Sprint(i), nil))
		}
		require.Equal(t, 3, d.Stats().Keys)
		require.Positive(t, d.Stats().Evicted)
		a.limit = 0
		require.True(t, d.New("x", nil))
		require.True(t, d.New("x", nil), "not kept")
		require.Positive(t, d.Stats().NotKept)
		d.Close()
		require.Zero(t, a.used.Load())
	})
	_, err := NewDeduplicator(DeduplicatorOptions{})
	require.ErrorContains(t, err, "MaxKeys")
	require.ErrorContains(t, err, "MaxAge")
	_, err = NewBatcher(BatcherOptions{}, nil)
	require.ErrorContains(t, err, "MaxDelay")
}
