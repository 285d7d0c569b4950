package signaling_test

import (
	"testing"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/signalingtest"
	"github.com/stretchr/testify/require"
)

func TestMemoryBus(t *testing.T) {
	signalingtest.TestBus(t, func(t *testing.T) signaling.Bus {
		b, err := signaling.NewMemoryBus(signaling.MemoryBusOptions{MaxTopics: 10, MaxMessages: 1000, MaxBytes: 1 << 20})
		require.NoError(t, err)
		return b
	})
}
