package main

import (
	"context"
	"errors"

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

// fraction is how much of a cache to give back: a quarter at the beginning of
// the pressure, three quarters when it is critical.
func fraction(p memmgr.Pressure) float64 { return 0.25 + 0.5*min(max(p.Scale, 0), 1) }
