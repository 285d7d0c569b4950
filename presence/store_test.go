package presence_test

import (
	"testing"
	"testing/synctest"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/presencetest"
)

func TestMemoryStore(t *testing.T) {
	for _, name := range presencetest.Names() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				presencetest.Run(t, name, presence.NewMemoryStore())
			})
		})
	}
}
