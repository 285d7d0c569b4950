package load

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Step is a moment of the run: what it was like since the step before.
type Step struct {
	At        float64 `json:"at"` // seconds since the first person came
	Window    bool    `json:"window"`
	Connected int64   `json:"connected"`
	InCalls   int64   `json:"inCalls"`
	Faults    int64   `json:"faults"` // so far

	MessagesPerSec  float64 `json:"messagesPerSec"`
	WebSocketPerSec float64 `json:"webSocketPerSec"` // bytes to the clients
	HTTPPerSec      float64 `json:"httpPerSec"`

	Notify    Latency `json:"inviteToNotify"`
	Chat      Latency `json:"chat"`
	QueueRead Latency `json:"queueRead"`

	RSS   int64   `json:"rss,omitempty"` // of the server, bytes
	Cores float64 `json:"cores,omitempty"`
}

// maxSteps bounds a report: a long run has longer steps.
const maxSteps = 300

// series takes the steps.
type series struct {
	mu    sync.Mutex
	steps []Step
}

func (s *series) all() []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.steps)
}

// follow adds a step at regular times until ctx ends.
func (r *runner) follow(ctx context.Context, server *watcher) {
	f := &r.figures
	began, last := time.Now(), time.Now()
	every := max(time.Second, (r.opt.Ramp+r.opt.Duration).Truncate(time.Second)/maxSteps)
	notify, chat, read := since{h: &f.notify}, since{h: &f.chat}, since{h: &f.queueRead}
	traffic, messages, cpu := r.traffic.read(), f.messages.Load(), server.cpuTime()
	for wait(ctx, every) {
		now, bytes, heard, used := time.Now(), r.traffic.read(), f.messages.Load(), server.cpuTime()
		seconds := now.Sub(last).Seconds()
		rss, _ := server.memory()
		step := Step{
			At: now.Sub(began).Seconds(), Window: f.inWindow.Load(),
			Connected: f.connected.Load(), InCalls: 2 * f.calling.Load(), Faults: f.faulty(),
			MessagesPerSec:  float64(heard-messages) / seconds,
			WebSocketPerSec: float64(bytes[0]-traffic[0]) / seconds,
			HTTPPerSec:      float64(bytes[2]-traffic[2]) / seconds,
			Notify:          notify.step(), Chat: chat.step(), QueueRead: read.step(),
			RSS: rss, Cores: (used - cpu).Seconds() / seconds,
		}
		last, traffic, messages, cpu = now, bytes, heard, used
		r.series.mu.Lock()
		if len(r.series.steps) < 2*maxSteps { // a ramp that takes longer than planned
			r.series.steps = append(r.series.steps, step)
		}
		r.series.mu.Unlock()
	}
}

// since tells what a histogram got from one step to the next.
type since struct {
	h      *histogram
	before [36 * sub]uint32
}

func (s *since) step() Latency {
	var d histogram
	s.h.mu.Lock()
	for i, n := range s.h.buckets {
		d.buckets[i] = n - s.before[i]
		if d.buckets[i] > 0 {
			d.n += int64(d.buckets[i])
			d.max = top(i)
		}
	}
	s.before = s.h.buckets
	s.h.mu.Unlock()
	return d.summary()
}

// kinds counts what the server's messages are about, as JSON, before any
// compression.
type kinds struct {
	mu     sync.Mutex
	counts map[string]*Kind
}

// Kind is what was received of one kind in the window.
type Kind struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"` // of JSON or of a delta, uncompressed
}

func (k *kinds) add(kind string, bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.counts == nil {
		k.counts = map[string]*Kind{}
	}
	c := k.counts[kind]
	if c == nil {
		if len(k.counts) >= maxErrors {
			kind = "other"
		}
		c = &Kind{}
		k.counts[kind] = c
	}
	c.Messages++
	c.Bytes += int64(bytes)
}

func (k *kinds) all() map[string]Kind {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[string]Kind, len(k.counts))
	for name, c := range k.counts {
		out[name] = *c
	}
	return out
}
