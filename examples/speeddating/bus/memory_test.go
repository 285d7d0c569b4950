package bus_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus/bustest"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func TestMemory(t *testing.T) {
	bustest.Run(t, func(*testing.T) (a, b dating.Bus) {
		m := bus.NewMemory()
		return m, m
	})
}

// Claims that nobody gives back do not pile up.
func TestClaimsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bus.NewMemory()
		for i := range 100_000 {
			_, err := m.Claim(t.Context(), "x", time.Second, fmt.Sprint(i))
			require.NoError(t, err)
			time.Sleep(time.Millisecond)
		}
		require.Less(t, m.Stats().Claims, 4096)
	})
}
