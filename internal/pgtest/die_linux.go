package pgtest

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel stop the server at once when the test's process ends,
// however it does.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT }
