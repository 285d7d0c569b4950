//go:build linux

// Command signaling compares the hub with other WebSocket servers: memory of
// an idle socket, CPU and rate of a broadcast and of a burst. Each server is a
// process of its own pinned to one core, the client another on another core:
//
//	go run ./signaling -n 10000
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	n := flag.Int("n", 10000, "sockets")
	runs := flag.Int("runs", 1, "runs of each server; medians are printed")
	only := flag.String("only", "raw,plimsoll,plimsoll-portable,gws,chat,centrifuge", "servers")
	server := flag.String("serve", "", "run as this server (internal)")
	flag.Parse()
	if *server != "" {
		pin(0)
		if err := serve(*server); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	pin(1)
	fmt.Printf("%d sockets; KiB a socket of settled RSS; CPU of the server in µs a delivery\n", *n)
	fmt.Printf("%-18s %8s %10s %8s | %10s %8s | %10s %8s %9s | %8s\n", "server", "idle", "exchanged", "after", "single/s", "CPU", "burst/s", "CPU", "peak MiB", "shake µs")
	for _, name := range strings.Split(*only, ",") {
		var all []result
		for range *runs {
			r, err := measure(name, *n)
			if err != nil {
				fmt.Println(name, err)
				continue
			}
			all = append(all, r)
		}
		if len(all) == 0 {
			continue
		}
		m := func(f func(result) float64) float64 {
			var v []float64
			for _, r := range all {
				v = append(v, f(r))
			}
			slices.Sort(v)
			return v[len(v)/2]
		}
		fmt.Printf("%-18s %8.2f %10.2f %8.2f | %10.0f %8.2f | %10.0f %8.2f %9.1f | %8.0f\n", name,
			m(func(r result) float64 { return r.idle }), m(func(r result) float64 { return r.exchanged }), m(func(r result) float64 { return r.after }),
			m(func(r result) float64 { return r.single }), m(func(r result) float64 { return r.singleCPU }),
			m(func(r result) float64 { return r.burst }), m(func(r result) float64 { return r.burstCPU }), m(func(r result) float64 { return r.peak }),
			m(func(r result) float64 { return r.shake }))
	}
}

func pin(cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	unix.SchedSetaffinity(0, &set)
}

type result struct {
	idle, exchanged, after, single, singleCPU, burst, burstCPU, peak, shake float64
}

// remote is a server process.
type remote struct {
	cmd  *exec.Cmd
	addr string
}

func start(name string) (*remote, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "-serve", name)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return &remote{cmd, strings.TrimSpace(line)}, err
}

// ask calls a path of the server's control and returns the number it answers.
func (r *remote) ask(path string) float64 {
	resp, err := http.Get("http://" + r.addr + path)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	f, _ := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	return f
}

func (r *remote) stop() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

func measure(name string, n int) (res result, err error) {
	r, err := start(name)
	if err != nil {
		return res, err
	}
	defer r.stop()
	warm, err := connect(r.addr, name, 200)
	if err != nil {
		return res, err
	}
	warm.exchange(name)
	r.ask("/broadcast?n=16")
	if err := warm.wait(16 * 200); err != nil {
		return res, err
	}
	warm.close()
	time.Sleep(500 * time.Millisecond)
	base := r.ask("/settled")
	cpu := r.ask("/cpu")
	c, err := connect(r.addr, name, n)
	if err != nil {
		return res, err
	}
	defer c.close()
	res.shake = (r.ask("/cpu") - cpu) / float64(n)
	perSocket := func() float64 { return (r.ask("/settled") - base) / 1024 / float64(n) }
	time.Sleep(time.Second)
	res.idle = perSocket()
	if err := c.exchange(name); err != nil {
		return res, err
	}
	time.Sleep(3 * time.Second) // what is kept for a resume has been acknowledged
	c.drain()
	res.exchanged = perSocket()

	timed := func(rounds, each int) (rate, cost float64, err error) {
		cpu, began := r.ask("/cpu"), time.Now()
		for range rounds {
			r.ask(fmt.Sprint("/broadcast?n=", each))
			if err := c.wait(each * n); err != nil {
				return 0, 0, err
			}
		}
		total := float64(rounds * each * n)
		return total / time.Since(began).Seconds(), (r.ask("/cpu") - cpu) / total, nil
	}
	if res.single, res.singleCPU, err = timed(20, 1); err != nil {
		return res, err
	}
	before := r.ask("/peak")
	if res.burst, res.burstCPU, err = timed(10, 16); err != nil {
		return res, err
	}
	res.peak = (r.ask("/peak") - before) / (1 << 20)
	time.Sleep(3 * time.Second)
	c.drain()
	res.after = perSocket()
	return res, nil
}
