package memmgr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

// A budget that is used up refuses before memory is used.
func Example() {
	m, err := memmgr.New(memmgr.Options{
		Limit:  64 << 20,
		Budget: 1 << 20,
		Accounts: []memmgr.AccountOptions{
			{Name: "connections", Min: 256 << 10},
			{Name: "caches"},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	caches, connections := m.Account("caches"), m.Account("connections")
	fmt.Println(caches.Reserve(768 << 10))
	fmt.Println(caches.Reserve(1))
	fmt.Println(connections.Reserve(256 << 10))

	err = connections.Reserve(1)
	fmt.Println(errors.Is(err, memmgr.ErrOverload))
	caches.Release(100)
	fmt.Println(connections.Reserve(1))
	// Output:
	// <nil>
	// memmgr: caches refused: budget of 1048576 bytes
	// <nil>
	// true
	// <nil>
}

func ExampleManager_SweepNow() {
	m, _ := memmgr.New(memmgr.Options{
		Limit:    64 << 20,
		Accounts: []memmgr.AccountOptions{{Name: "sessions"}},
	})
	m.AddSweep(memmgr.Sweep{
		Name: "sessions",
		Run: func(ctx context.Context) (memmgr.SweepResult, error) {
			return memmgr.SweepResult{Examined: 10, Deleted: 3}, nil
		},
	})
	res, err := m.SweepNow(context.Background())
	fmt.Println(res.Deleted, err)
	// Output: 3 <nil>
}

// Records leave the live store only after the archive was seen to hold them.
func ExampleArchive() {
	type record struct {
		id   int
		text string
	}
	live := []record{{1, "a"}, {2, "b"}, {3, "c"}}
	archived := map[int]record{}

	a, err := memmgr.NewArchive(memmgr.ArchiveOptions[int, record]{
		Batch: 2,
		Key:   func(r record) int { return r.id },
		Select: func(_ context.Context, limit int) ([]record, error) {
			return slices.Clone(live[:min(limit, len(live))]), nil
		},
		Store: func(_ context.Context, batch []record) error {
			for _, r := range batch {
				archived[r.id] = r
			}
			return nil
		},
		Confirm: func(_ context.Context, keys []int) ([]int, error) {
			return slices.DeleteFunc(keys, func(id int) bool { _, ok := archived[id]; return !ok }), nil
		},
		Delete: func(_ context.Context, c memmgr.Confirmed[int]) (int, error) {
			before := len(live)
			for id := range c.All() {
				live = slices.DeleteFunc(live, func(r record) bool { return r.id == id })
			}
			return before - len(live), nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := a.Run(context.Background())
	fmt.Println(res.Archived, res.Deleted, len(live), len(archived), err)
	// Output: 3 3 0 3 <nil>
}

func ExamplePlanFor() {
	p, err := memmgr.PlanFor(memmgr.Plan512MB)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := memmgr.New(p.Options())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.GoLimit>>20, p.MaxConns, m.Account("calls").Name())
	// Output: 332 1820 calls
}
