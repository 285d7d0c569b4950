// The child of the tests in a real memory cgroup. It is built without the race
// detector, whose shadow memory is several times the heap.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

func main() {
	os.Exit(map[string]func() int{"retain": retain, "leak": leak}[os.Args[1]]())
}

// retain is a server in small: two producers keep 64 KiB buffers as fast
// as the machine can, for ever, each reserved first if there is a ledger.
func retain() int {
	limit, err := memmgr.CgroupLimit()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var acc *memmgr.Account
	if len(os.Args) > 2 {
		if _, err := memmgr.Tune(memmgr.TuneOptions{}); err != nil {
			fmt.Println(err)
			return 1
		}
		m, err := memmgr.New(memmgr.Options{Accounts: []memmgr.AccountOptions{{Name: "buffers"}}})
		if err != nil || m.Limit() != limit {
			fmt.Println(err, m.Limit())
			return 1
		}
		go m.Run(context.Background())
		acc = m.Account("buffers")
		defer func() { json.NewEncoder(os.Stdout).Encode(m.Stats().Accounts) }()
	}
	stop := time.Now().Add(2 * time.Second)
	done := make(chan [][]byte)
	for range 2 {
		go func() {
			var held [][]byte
			for time.Now().Before(stop) {
				if acc.Reserve(64<<10) != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				b := make([]byte, 64<<10)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				held = append(held, b)
			}
			done <- held
		}()
	}
	n := len(<-done)
	n += len(<-done)
	fmt.Printf("kept %d MiB of %d\n", n>>4, limit>>20)
	return 0
}

// leak leaks what nobody accounts for.
func leak() int {
	if _, err := memmgr.Tune(memmgr.TuneOptions{}); err != nil {
		fmt.Println(err)
		return 1
	}
	reported := make(chan memmgr.StuckReport, 1)
	m, err := memmgr.New(memmgr.Options{
		Accounts:    []memmgr.AccountOptions{{Name: "innocent"}},
		OnStuck:     func(r memmgr.StuckReport) { reported <- r },
		GiveUpAfter: time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m.OnPressure(memmgr.Reclaimer{Name: "nothing", At: memmgr.Elevated, Reclaim: func(context.Context, memmgr.Pressure) (int64, error) {
		return 0, nil
	}})
	done := make(chan error, 1)
	go func() { done <- m.Run(context.Background()) }()
	tick := time.NewTicker(2 * time.Millisecond)
	var at time.Time
	var cycles uint64 // of the collector, when it was reported
	for {
		select {
		case <-tick.C:
			if at.IsZero() && m.Level() < memmgr.Critical {
				grow()
			}
		case r := <-reported:
			at = time.Now()
			cycles = m.Stats().Sample.GCCycles
			if len(r.Sites) == 0 {
				fmt.Println("no sites")
				return 1
			}
			fmt.Printf("stuck %v after critical: %s +%d, unaccounted %d MiB, site %s\n",
				at.Sub(r.Since).Round(time.Millisecond), r.Accounts[0].Name, r.Accounts[0].Growth, r.Unaccounted>>20, r.Sites[0].Func)
			if d := at.Sub(r.Since); d > time.Second {
				fmt.Println("too late")
				return 1
			}
		case err := <-done:
			if !errors.Is(err, memmgr.ErrStuck) {
				fmt.Println("Run:", err)
				return 1
			}
			fmt.Println(err)
			n := m.Stats().Sample.GCCycles - cycles
			fmt.Printf("%d collections in the %v between\n", n, time.Since(at).Round(time.Millisecond))
			if n > 10 {
				return 1 // it thrashes
			}
			return 3
		}
	}
}

var leaked [][]byte

//go:noinline
func grow() {
	b := make([]byte, 128<<10)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	leaked = append(leaked, b)
}
