//go:build !unix

package redistest

import "os"

// There is no such signal here: Pause fails the test.
var stop, resume = os.Interrupt, os.Interrupt
