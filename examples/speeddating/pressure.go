package main

import (
	"context"
	"errors"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

// reclaim registers what gives memory back, the cheapest first, and the sweeps.
func (a *app) reclaim() error {
	var errs []error
	for _, r := range []memmgr.Reclaimer{
		{Name: "caches", At: memmgr.Elevated, Cost: 1, Reclaim: func(_ context.Context, p memmgr.Pressure) (int64, error) {
			return a.platform.Trim(0.25 + 0.5*min(p.Scale, 1)), nil
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
