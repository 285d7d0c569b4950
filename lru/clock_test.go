package lru

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClockNeverRunsBack: whatever the source does, what was over stays over
// and no time is negative.
func TestClockNeverRunsBack(t *testing.T) {
	var c clock
	c.start()
	require.Contains(t, c.base.String(), " m=", "setting the system's clock changes nothing")
	c.armed.Store(true) // without the timer
	c.base = c.base.Add(-time.Hour)
	hour := c.now()
	c.coarse.Store(hour)
	c.base = c.base.Add(2 * time.Hour)
	require.Equal(t, hour, c.now())
	require.True(t, c.passed(hour/int64(time.Millisecond)))
	require.False(t, c.passed(deadlineAfter(hour, time.Minute)))
	c.coarse.Store(0)
	require.EqualValues(t, time.Millisecond, c.now())
}
