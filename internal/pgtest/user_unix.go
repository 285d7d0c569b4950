//go:build unix

package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// PostgreSQL refuses to run as root: then it runs as whom its package made, or
// as nobody.
func ordinary() (uid, gid int) {
	uid, gid = 65534, 65534
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			id, err := strconv.Atoi(u.Uid)
			group, errGroup := strconv.Atoi(u.Gid)
			if err == nil && errGroup == nil {
				return id, group
			}
		}
	}
	return uid, gid
}

func giveAway(paths ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := ordinary()
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.Chown(path, uid, gid))
	}
	return errors.Join(errs...)
}

func asOrdinaryUser(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		uid, gid := ordinary()
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
}
