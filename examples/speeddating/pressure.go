package main

import (
	"context"
	"errors"
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

// reclaim registers what gives memory back, the cheapest first, and the
// sweeps, which the watchdog runs at once when the level is critical.
func (a *app) reclaim() error {
	var errs []error
	for _, r := range []memmgr.Reclaimer{
		{Name: "encoders", At: memmgr.Elevated, Cost: 1, Reclaim: func(_ context.Context, p memmgr.Pressure) (int64, error) {
			return a.compress.Trim(fraction(p)), nil
		}},
		{Name: "caches", At: memmgr.Elevated, Cost: 2, Reclaim: func(_ context.Context, p memmgr.Pressure) (int64, error) {
			return a.platform.Trim(fraction(p)), nil
		}},
		{Name: "queues", At: memmgr.High, Cost: 3, Reclaim: func(_ context.Context, p memmgr.Pressure) (int64, error) {
			return a.sockets.Hub().Reclaim(p.Want), nil
		}},
	} {
		errs = append(errs, a.memory.OnPressure(r))
	}
	if files, ok := a.store.(interface{ DropFileCache() error }); ok {
		errs = append(errs, a.memory.AddSweep(memmgr.Sweep{
			Name: "file cache", Every: time.Second,
			Run: func(context.Context) (memmgr.SweepResult, error) { return a.sweepFileCache(files.DropFileCache) },
		}))
	}
	for _, s := range a.platform.Sweeps() {
		errs = append(errs, a.memory.AddSweep(memmgr.Sweep{
			Name: s.Name, Every: s.Every,
			Run: func(ctx context.Context) (memmgr.SweepResult, error) {
				r, err := s.Run(ctx)
				return memmgr.SweepResult{Archived: int64(r.Archived), Deleted: int64(r.Deleted)}, err
			},
		}))
	}
	return errors.Join(errs...)
}

// sweepFileCache keeps what the kernel caches of the database's files from
// filling the cgroup. The kernel would drop it before it kills, but only when
// the limit is met, and then in the middle of somebody's allocation; and those
// who look at the container's figures cannot tell it from a need.
func (a *app) sweepFileCache(drop func() error) (memmgr.SweepResult, error) {
	s := a.memory.Stats().Sample
	cached := s.CgroupUsage - s.Pinned
	if s.CgroupUsage < a.memory.Limit()/2 || cached < a.memory.Limit()/50 {
		return memmgr.SweepResult{}, nil
	}
	return memmgr.SweepResult{Freed: cached}, drop()
}

// fraction is how much of a cache to give back: a quarter at the beginning of
// the pressure, three quarters when it is critical.
func fraction(p memmgr.Pressure) float64 { return 0.25 + 0.5*min(max(p.Scale, 0), 1) }
