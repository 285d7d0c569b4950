//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// installSocketIO has npm install what is pinned in socketio/, once.
func installSocketIO() error {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return errors.New(tool + " is not installed")
		}
	}
	dir := socketDir()
	if _, err := os.Stat(filepath.Join(dir, "server.mjs")); err != nil {
		return fmt.Errorf("its server is not beside the source: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "socket.io")); err == nil {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}

func socketDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "socketio")
}

// socketIO is a Socket.IO server on the servers' core.
func socketIO(deflate bool) *exec.Cmd {
	cmd := exec.Command("taskset", "-c", "0", "node", "--expose-gc", "server.mjs")
	cmd.Dir = socketDir()
	b, _ := json.Marshal(messages())
	cmd.Env = append(os.Environ(), "BENCH_MESSAGES="+string(b))
	if deflate {
		cmd.Env = append(cmd.Env, "BENCH_DEFLATE=1")
	}
	return cmd
}
