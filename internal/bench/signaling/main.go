//go:build linux

// Command signaling compares the hub with other WebSocket servers: what a
// socket costs in memory, what a handshake, a broadcast, a burst, a relayed
// message and a ping cost in CPU.
//
//	go run ./signaling
//
// Each server is a process of its own, pinned to one core; the client, raw
// sockets in one epoll set, is pinned to another. The servers take turns, and
// of the runs of each the medians are printed, then what is asked of the hub
// beside what it reached. Plimsoll is the whole product: a hub with rooms,
// sessions that resume, limits and figures. raw is the floor: ready bytes,
// written once for each socket by Go's net package; raw-joined, if asked for
// with -only, writes what is broadcast at once in one piece.
//
// Socket.IO takes part if node and npm are there; what it needs is in
// socketio/, pinned, and installed at the first run.
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
	runs := flag.Int("runs", 3, "runs of each server; medians are printed")
	only := flag.String("only", "raw,plimsoll,plimsoll-portable,gws,chat,centrifuge,socket.io", "servers")
	ping := flag.Duration("ping", 5*time.Second, "how often the servers ping; their cost is computed for every 25 s")
	relays := flag.Bool("relays", false, "measure only what is relayed, in short turns")
	profile := flag.String("profile", "", "write a CPU profile of each Go server's phases to this `directory`")
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
	names := strings.Split(*only, ",")
	if i := slices.Index(names, "socket.io"); i >= 0 {
		if err := installSocketIO(); err != nil {
			fmt.Printf("SKIPPED: socket.io is not compared: %v\n\n", err)
			names = slices.Delete(names, i, i+1)
		}
	}
	pin(1)
	os.Setenv("BENCH_PROFILE", *profile)
	if *relays {
		turns := takeTurns(names, *n, *runs)
		fmt.Fprint(os.Stderr, "\r\033[K")
		turns.report(names)
		return
	}
	all := map[string][]figures{}
	for i := range *runs {
		for _, name := range names {
			fmt.Fprintf(os.Stderr, "\rrun %d of %d: %-20s", i+1, *runs, name)
			f, err := measure(name, *n, *ping)
			if err != nil {
				fmt.Fprintf(os.Stderr, "\n%s: %v\n", name, err)
			}
			if f != nil {
				all[name] = append(all[name], f)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	report(names, all, *n, *runs)
}

func pin(cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	unix.SchedSetaffinity(0, &set)
}

// remote is a server process.
type remote struct {
	cmd  *exec.Cmd
	addr string
}

func start(name string, deflate bool, ping time.Duration) (*remote, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "-serve", name)
	if name == "socket.io" {
		cmd = socketIO(deflate)
	}
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS=1", fmt.Sprint("BENCH_PING=", ping.Milliseconds()))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return &remote{cmd, strings.TrimSpace(line)}, nil
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

// phase names what follows, for a profile.
func (r *remote) phase(name string) {
	if os.Getenv("BENCH_PROFILE") != "" {
		r.ask("/phase?name=" + name)
	}
}

func (r *remote) stop() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// figures are what was measured of one server, by column.
type figures map[string]float64

// measure returns what it could measure before an error.
func measure(name string, n int, ping time.Duration) (figures, error) {
	f := figures{}
	err := f.plain(name, n)
	if err == nil && !strings.HasPrefix(name, "raw") { // to which all bytes are the same
		err = f.deflated(name, n)
	}
	if err == nil && !strings.HasPrefix(name, "raw") && name != "gws" { // which ping only if told to
		err = f.pings(name, n, ping)
	}
	return f, err
}

// usual is how often servers ping while something else is measured.
const usual = 25 * time.Second

// begin starts a server and warms it up.
func begin(name string, deflate bool, ping time.Duration) (r *remote, base, live float64, err error) {
	if r, err = start(name, deflate, ping); err != nil {
		return nil, 0, 0, err
	}
	warm, err := connect(r.addr, name, 2*pairs, deflate)
	if err == nil {
		err = warm.exchange()
	}
	if err == nil {
		each := 16
		if deflate { // several in one compressed frame could not be told apart
			each = 1
		}
		r.ask(fmt.Sprint("/broadcast?n=", each))
		err = warm.wait(each * 2 * pairs)
	}
	if err == nil && !deflate {
		err = warm.relay(1000)
	}
	if err == nil && !deflate {
		err = warm.offer(1000)
	}
	if err != nil {
		r.stop()
		return nil, 0, 0, fmt.Errorf("warming up: %w", err)
	}
	warm.close()
	time.Sleep(500 * time.Millisecond)
	return r, r.ask("/settled"), r.ask("/live"), nil
}

func (f figures) plain(name string, n int) error {
	r, base, live, err := begin(name, false, usual)
	if err != nil {
		return err
	}
	defer r.stop()
	each := func(path string, base float64) float64 { return (r.ask(path) - base) / 1024 / float64(n) }
	r.phase("handshake")
	cpu := r.ask("/cpu")
	c, err := connect(r.addr, name, n, false)
	if err != nil {
		return err
	}
	defer c.close()
	f["handshake"] = (r.ask("/cpu") - cpu) / float64(n)
	r.phase("")
	c.pause(time.Second)
	f["natural"] = each("/steady", base)
	f["idle"] = each("/settled", base)
	f["live"] = each("/live", live)
	if err := c.exchange(); err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	c.pause(2500 * time.Millisecond) // what is kept for a resume has been acknowledged
	f["exchanged"] = each("/settled", base)

	r.phase("single")
	if f["single rate"], f["single"], err = f.timed(r, c, 20, 1); err != nil {
		return fmt.Errorf("broadcasts: %w", err)
	}
	r.phase("")
	r.ask("/settled")
	before := r.ask("/peak?reset=1")
	r.phase("burst")
	if f["burst rate"], f["burst"], err = f.timed(r, c, 8, 16); err != nil {
		return fmt.Errorf("bursts: %w", err)
	}
	f["peak"] = (r.ask("/peak") - before) / (1 << 20)

	if err := f.relays(r, c, 40000); err != nil {
		return err
	}
	c.pause(3 * time.Second)
	f["after"] = each("/settled", base)
	return nil
}

// pings are counted while nothing else happens.
func (f figures) pings(name string, n int, every time.Duration) error {
	r, _, _, err := begin(name, false, every)
	if err != nil {
		return err
	}
	defer r.stop()
	c, err := connect(r.addr, name, n, false)
	if err != nil {
		return err
	}
	defer c.close()
	r.phase("ping")
	cpu, began := r.ask("/cpu"), time.Now()
	c.pause(2 * every)
	f["ping"] = (r.ask("/cpu") - cpu) / time.Since(began).Seconds() / float64(n) * every.Seconds() / 25
	r.phase("")
	if c.gone > 0 {
		return fmt.Errorf("%d sockets were closed while they were idle", c.gone)
	}
	return nil
}

func (f figures) deflated(name string, n int) error {
	r, base, _, err := begin(name, true, usual)
	if err != nil {
		return fmt.Errorf("deflate: %w", err)
	}
	defer r.stop()
	c, err := connect(r.addr, name, n, true)
	if err != nil {
		return fmt.Errorf("deflate: %w", err)
	}
	defer c.close()
	c.pause(time.Second)
	r.ask("/broadcast?n=1")
	if err := c.wait(n); err != nil {
		return fmt.Errorf("deflated broadcast: %w", err)
	}
	c.pause(time.Second)
	f["deflate memory"] = (r.ask("/settled")-base)/1024/float64(n) - f["idle"]
	if f["deflate rate"], f["deflate"], err = f.timed(r, c, 20, 1); err != nil {
		return fmt.Errorf("deflated broadcasts: %w", err)
	}
	return nil
}

// timed has messages broadcast, each time as many at once, and returns
// deliveries a second and the server's CPU in µs a delivery.
func (f figures) timed(r *remote, c *load, rounds, each int) (rate, cost float64, err error) {
	cpu, began, total := r.ask("/cpu"), time.Now(), 0
	for i := 0; i < rounds && (i < 3 || time.Since(began) < 6*time.Second); i++ {
		r.ask(fmt.Sprint("/broadcast?n=", each))
		if err := c.wait(each * len(c.fds)); err != nil {
			return 0, 0, err
		}
		total += each * len(c.fds)
	}
	return float64(total) / time.Since(began).Seconds(), (r.ask("/cpu") - cpu) / float64(total), nil
}
