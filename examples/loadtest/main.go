// Command loadtest lets simulated people use a running speed-dating platform
// and reports what they waited for, what went wrong, and what it cost:
//
//	go run ./examples/loadtest -users 1000 -duration 2m -url http://localhost:8080
//
// It ends with status 1 if a message was lost, doubled or reordered, anybody
// was not connected at the end, or anything failed. See package load for what
// the people do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 2 for wrong flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var opt load.Options
	flags := flag.NewFlagSet("loadtest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opt.URL, "url", "http://localhost:8080", "the platform's `address`")
	flags.IntVar(&opt.Users, "users", 100, "how many people")
	flags.DurationVar(&opt.Ramp, "ramp", 0, "over which they arrive (default 1s for each 25)")
	flags.DurationVar(&opt.Duration, "duration", 0, "of the window that is measured (default 2m)")
	flags.DurationVar(&opt.Pace, "pace", 0, "from one call of a person to the next (default 1m)")
	flags.DurationVar(&opt.Call, "call", 0, "how long a call lasts (default 20s)")
	flags.DurationVar(&opt.QueueEvery, "queue-every", 0, "between two reads of the queue, negative: never (default 15s)")
	flags.DurationVar(&opt.Patience, "patience", 0, "how long anything may take before it is an error (default 20s)")
	flags.IntVar(&opt.ChatLines, "chat", 0, "lines each side writes in a call, negative: none (default 5)")
	flags.IntVar(&opt.Candidates, "candidates", 0, "candidates each side sends in a call, negative: none (default 8)")
	flags.IntVar(&opt.SourceAddresses, "source-addresses", 0, "connect from that many loopback addresses, 127.0.0.2 on")
	flags.BoolVar(&opt.OwnHTTP, "own-http", false, "everybody keeps an HTTP connection of their own, as browsers do")
	flags.Float64Var(&opt.Cuts, "cuts", 0, "sockets to cut a minute, per 100 people")
	flags.IntVar(&opt.PID, "pid", 0, "process `id` of the server, to measure its memory and CPU time (default: who listens on the port, if it is on this machine)")
	report := flags.String("json", "", "write the report as JSON to this `file`, - for standard output instead of text")
	page := flags.String("html", "", "write the report as a page with plots to this `file`")
	search := flags.Bool("search", false, "find the largest number of people who are served without an error, from -users up to -most")
	most := flags.Int("most", 20000, "for -search: never more `people` than that")
	bound := flags.Duration("bound", 50*time.Millisecond, "for -search: the p99 of invite to notify that is still good")
	quiet := flags.Bool("quiet", false, "no progress on standard error")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "loadtest: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if !*quiet {
		opt.Progress = func(line string) { fmt.Fprintln(stderr, line) }
	}
	if opt.PID == 0 {
		opt.PID = find(opt.URL)
	}
	if *search {
		return look(ctx, opt, *bound, *most, stdout, stderr)
	}
	r, err := load.Run(ctx, opt)
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		if r == nil {
			return 2
		}
	}
	if err := errors.Join(write(r, *report, stdout), writePage(r, *page)); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return 1
	}
	if err != nil || !r.OK() {
		return 1
	}
	return 0
}

// find gives the server's process if the URL is on this machine.
func find(address string) int {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0
	}
	port, _ := strconv.Atoi(u.Port())
	return load.FindServer(port)
}

// look searches for the largest number of people.
func look(ctx context.Context, opt load.Options, bound time.Duration, most int, stdout, stderr io.Writer) int {
	best, err := load.Search(ctx, opt, bound, most, func(t load.Trial) {
		verdict := "ok"
		if !t.OK {
			verdict = "no: " + t.Why
		}
		memory := ""
		if s := t.Report.Server; s != nil {
			memory = fmt.Sprintf(", peak %.0f MiB, %.2f cores", float64(s.RSSPeak)/(1<<20), s.Cores)
		}
		fmt.Fprintf(stdout, "%d people: p99 of invite → notify %v%s: %s\n", t.Users, t.Report.Notify.P99.Round(10*time.Microsecond), memory, verdict)
	})
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return 2
	}
	if best == nil {
		fmt.Fprintf(stdout, "not even %d people were served without an error\n", opt.Users)
		return 1
	}
	fmt.Fprintf(stdout, "the largest number: %d people\n\n", best.Users)
	if err := best.Report.WriteText(stdout); err != nil {
		return 1
	}
	return 0
}

func writePage(r *load.Report, file string) (err error) {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return r.WriteHTML(f, time.Now())
}

func write(r *load.Report, file string, stdout io.Writer) error {
	if file != "-" {
		if err := r.WriteText(stdout); err != nil || file == "" {
			return err
		}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if file == "-" {
		_, err = stdout.Write(b)
		return err
	}
	return os.WriteFile(file, b, 0o666)
}
