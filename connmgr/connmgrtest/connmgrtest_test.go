package connmgrtest_test

import (
	"testing"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/connmgr/connmgrtest"
	"github.com/stretchr/testify/require"
)

func TestMemoryLedger(t *testing.T) {
	connmgrtest.TestLedger(t, func(t *testing.T) connmgr.Ledger {
		l, err := connmgr.NewMemoryLedger(10_000)
		require.NoError(t, err)
		return l
	})
}
