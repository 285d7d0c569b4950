package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/internal/pgtest"
)

// Many who ask at once share few statements, each gets what is theirs, and who
// gives up keeps nobody else waiting.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds, full atomic.Uint64
		g := gather[int, int]{most: 1000, full: &full, fetch: func(_ context.Context, keys []int) (map[int]int, error) {
			rounds.Add(1)
			require.LessOrEqual(t, len(keys), gatherKeys)
			time.Sleep(time.Second)
			got := map[int]int{}
			for _, k := range keys {
				if k%10 != 0 {
					got[k] = -k
				}
			}
			return got, nil
		}}
		hurry, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		began := time.Now()
		for i := range gatherRounds + 1000 {
			all.Go(func() {
				v, ok, err := g.get(t.Context(), i)
				require.NoError(t, err)
				require.Equal(t, i%10 != 0, ok)
				if ok {
					require.Equal(t, -i, v)
				}
			})
		}
		synctest.Wait()
		_, _, err := g.get(t.Context(), 1)
		require.ErrorIs(t, err, ErrFull)
		require.EqualValues(t, 1, full.Load())
		all.Wait()
		require.EqualValues(t, gatherRounds+1000/gatherKeys+1, rounds.Load())
		require.Equal(t, 2*time.Second, time.Since(began))

		_, _, err = g.get(hurry, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, _, err = g.get(t.Context(), 1)
		require.NoError(t, err)
		g.fetch = func(context.Context, []int) (map[int]int, error) { return nil, errors.New("no") }
		_, _, err = g.get(t.Context(), 1)
		require.EqualError(t, err, "no")
	})
}

// What a thousand people need who connect in the same moment.
func TestPostgresGathers(t *testing.T) {
	const n = 1000
	srv := pgtest.New(t)
	s := openPostgres(t, srv.Database(t), Options{})
	people := pgPeople(t, s, n)
	for i := range n / 2 {
		require.NoError(t, s.SetCooldown(t.Context(), people[2*i], people[2*i+1], time.Now().Add(time.Hour)))
	}
	before, began := s.Stats().Statements, time.Now()
	var all sync.WaitGroup
	for i, id := range people {
		all.Go(func() {
			hash := pgSession(i)
			se, err := s.Session(t.Context(), hash)
			if err != nil || se.User != id || se.Hash != hash {
				t.Errorf("session of %s: %+v, %v", id, se, err)
			}
			found, err := s.Users(t.Context(), []dating.UserID{id})
			if err != nil || found[id].ID != id {
				t.Errorf("user %s: %+v, %v", id, found, err)
			}
			rel, err := s.Relations(t.Context(), id, time.Now(), 10)
			if _, met := rel.Cooldowns[people[i^1]]; err != nil || !met || len(rel.Cooldowns) != 1 {
				t.Errorf("relations of %s: %+v, %v", id, rel, err)
			}
		})
	}
	all.Wait()
	statements := s.Stats().Statements - before
	t.Logf("%d people connect in %v with %d statements", n, time.Since(began).Round(time.Millisecond), statements)
	require.Less(t, statements, uint64(n/2))
}
