package redistest

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel kill the server when the test's process ends,
// however it does.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
