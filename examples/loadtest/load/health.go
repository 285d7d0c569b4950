package load

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ServerHealth is what the server said of itself at /health, over the window.
type ServerHealth struct {
	StatementsPerMinute float64 `json:"statementsPerMinute"` // of the database
	UsersHitRate        float64 `json:"usersHitRate"`        // of the caches, 0 to 1
	SessionsHitRate     float64 `json:"sessionsHitRate"`
	MemoryLevel         string  `json:"memoryLevel"` // at the end
	MemoryLimit         int64   `json:"memoryLimit"` // bytes
	Reserved            int64   `json:"reserved"`    // bytes, at the end

	// Layers are the bytes before and after each way of sending less.
	Layers map[string]Layer `json:"layers,omitempty"`
}

// Layer is one way of sending less.
type Layer struct {
	Before float64 `json:"before"` // bytes, or messages for "batch"
	After  float64 `json:"after"`
}

// health is the document of GET /health as far as it is of interest here.
// What a server does not say stays zero.
type health struct {
	Memory struct {
		Level  string
		Limit  int64
		Sample struct{ Reserved int64 }
	}
	Platform struct {
		Users, Sessions struct{ Hits, Misses float64 }
		Store           struct{ Statements float64 }
	}
	Savings struct {
		HTTP, Queue, Socket struct{ BeforeBytes, AfterBytes float64 }
		Batch               struct{ Messages, Writes float64 }
	}
}

// askHealth gives nil if the server does not answer.
func (r *runner) askHealth(ctx context.Context) *health {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.opt.URL+"/health", nil)
	if err != nil {
		return nil
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var h health
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&h) != nil {
		return nil
	}
	return &h
}

// over tells what happened from one document to another.
func (h *health) over(end *health, minutes float64) *ServerHealth {
	if h == nil || end == nil || end.Platform.Store.Statements < h.Platform.Store.Statements {
		return nil // no answer, or the server was restarted
	}
	rate := func(a, b struct{ Hits, Misses float64 }) float64 {
		hits, misses := b.Hits-a.Hits, b.Misses-a.Misses
		if hits+misses <= 0 {
			return 0
		}
		return hits / (hits + misses)
	}
	layer := func(a, b struct{ BeforeBytes, AfterBytes float64 }) Layer {
		return Layer{b.BeforeBytes - a.BeforeBytes, b.AfterBytes - a.AfterBytes}
	}
	a, b := &h.Savings, &end.Savings
	layers := map[string]Layer{
		"http": layer(a.HTTP, b.HTTP), "queue": layer(a.Queue, b.Queue), "socket": layer(a.Socket, b.Socket),
		"batch": {b.Batch.Messages - a.Batch.Messages, b.Batch.Writes - a.Batch.Writes},
	}
	for name, l := range layers {
		if l.Before == 0 {
			delete(layers, name)
		}
	}
	return &ServerHealth{
		StatementsPerMinute: (end.Platform.Store.Statements - h.Platform.Store.Statements) / minutes,
		UsersHitRate:        rate(h.Platform.Users, end.Platform.Users),
		SessionsHitRate:     rate(h.Platform.Sessions, end.Platform.Sessions),
		MemoryLevel:         end.Memory.Level, MemoryLimit: end.Memory.Limit, Reserved: end.Memory.Sample.Reserved,
		Layers: layers,
	}
}

// FindServer gives the process on this machine that listens on the port of a
// URL, 0 if there is none that this user may see (Linux).
func FindServer(port int) int {
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(table)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // listening
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseInt(hex, 16, 32); err == nil && int(n) == port {
				inode = "socket:[" + f[9] + "]"
			}
		}
	}
	if inode == "" {
		return 0
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == inode {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}
