package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// TestCacheHits lets people use the platform and holds the hit rate of its
// caches of users and sessions. PLIMSOLL_CACHE_USERS=1000 is the long form.
// With PLIMSOLL_CACHE_TRACES=DIR it leaves there what each cache was asked, in
// the form that internal/bench replays at any size:
//
//	PLIMSOLL_CACHE_USERS=1000 PLIMSOLL_CACHE_TRACES=/tmp go test -run TestCacheHits -v ./examples/speeddating
//	go -C internal/bench run ./lru -only traces -traces /tmp/users.trace,/tmp/sessions.trace -sizes 200,300,1000
func TestCacheHits(t *testing.T) {
	users, pace := 60, 4*time.Second
	if s := os.Getenv("PLIMSOLL_CACHE_USERS"); s != "" {
		var err error
		users, err = strconv.Atoi(s)
		require.NoError(t, err)
		pace = 0 // the load's own, a minute
	}
	var mu sync.Mutex
	uses := map[string][]dating.CacheUse{}
	app := startApp(t, func(c *config) {
		c.watch = func(u dating.CacheUse) {
			mu.Lock()
			uses[u.Cache] = append(uses[u.Cache], u)
			mu.Unlock()
		}
	})
	o := load.Options{URL: app.URL(), Users: users, Pace: pace, Patience: patience, Duration: time.Minute}
	if pace != 0 {
		o.Duration, o.Call, o.QueueEvery = 8*time.Second, 2*time.Second, 2*time.Second
	}
	report, err := load.Run(t.Context(), o)
	require.NoError(t, err)
	require.EqualValues(t, users, report.Connected)

	s := app.platform.Stats()
	for name, c := range map[string]dating.Cache{"users": s.Users, "sessions": s.Sessions} {
		t.Logf("%d people, %s: %d look-ups, %.1f %% hits with room for %d", users, name, c.Hits+c.Misses, 100*c.HitRate, c.Max)
		require.GreaterOrEqual(t, c.HitRate, 0.94)
		require.EqualValues(t, c.Hits+c.Misses, lookups(uses[name]))
		if dir := os.Getenv("PLIMSOLL_CACHE_TRACES"); dir != "" {
			require.NoError(t, writeTrace(filepath.Join(dir, name+".trace"), uses[name]))
		}
	}
}

func lookups(uses []dating.CacheUse) (n int) {
	for _, u := range uses {
		if !u.Fill {
			n++
		}
	}
	return n
}

// writeTrace writes a number for each key, one a line, after a plus if the
// entry was put there unasked.
func writeTrace(path string, uses []dating.CacheUse) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	numbers := map[string]int{}
	for _, u := range uses {
		n, ok := numbers[u.Key]
		if !ok {
			n = len(numbers)
			numbers[u.Key] = n
		}
		if u.Fill {
			w.WriteByte('+')
		}
		fmt.Fprintln(w, n)
	}
	return w.Flush()
}
