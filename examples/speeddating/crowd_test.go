package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
	"github.com/plimsoll-go/plimsoll/internal/pgtest"
	"github.com/plimsoll-go/plimsoll/internal/redistest"
)

// crowdSize is how many people take part: the environment variable
// PLIMSOLL_CLUSTER_USERS, or a few.
func crowdSize(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PLIMSOLL_CLUSTER_USERS")); err == nil && n > 0 {
		return n
	}
	return few
}

// fleet is several servers, each a process of its own, on one PostgreSQL and one
// Redis.
type fleet struct {
	t      *testing.T
	binary string
	args   []string
	pg     *pgtest.Server
	db     string
	rdb    redis.UniversalClient
	bases  []string
	cmds   []*exec.Cmd
}

func newFleet(t *testing.T, n, users int, rdb redis.UniversalClient, url string) *fleet {
	t.Helper()
	f := &fleet{t: t, binary: filepath.Join(t.TempDir(), "speeddating"), pg: pgtest.New(t), rdb: rdb}
	// Without the race detector, which would be measured instead.
	if built := os.Getenv("PLIMSOLL_BINARY"); built != "" {
		f.binary = built
	} else {
		out, err := exec.Command("go", "build", "-o", f.binary, ".").CombinedOutput()
		require.NoError(t, err, string(out))
	}
	f.db = f.pg.Database(t)
	f.args = []string{"-db", f.db, "-redis", url, "-max-connections", fmt.Sprint(users + 200), "-max-per-address", fmt.Sprint(users + 200),
		"-memory-limit", "2GiB", "-drain", "2s", "-log-level", "warn"}
	for i := range n {
		f.bases = append(f.bases, "http://"+freeAddress(t))
		f.cmds = append(f.cmds, nil)
		f.start(i)
	}
	return f
}

// freeAddress is one that is still free when a server comes back to it: below
// those that the system gives to clients.
func freeAddress(t *testing.T) string {
	for port := 20_000 + os.Getpid()%5_000; port < 32_000; port++ {
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			defer l.Close()
			if _, taken := takenPorts[port]; !taken {
				takenPorts[port] = struct{}{}
				return l.Addr().String()
			}
		}
	}
	t.Fatal("no port is free")
	return ""
}

var takenPorts = map[int]struct{}{}

func (f *fleet) start(i int) {
	cmd := exec.Command(f.binary, append([]string{"-addr", strings.TrimPrefix(f.bases[i], "http://")}, f.args...)...)
	log, err := os.Create(filepath.Join(f.t.TempDir(), fmt.Sprintf("server%d-%d.log", i, time.Now().UnixNano())))
	require.NoError(f.t, err)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	require.NoError(f.t, err)
	require.NoError(f.t, cmd.Start())
	f.cmds[i] = cmd
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, or has ended
		if f.t.Failed() {
			tail, _ := os.ReadFile(log.Name())
			if keep := os.Getenv("PLIMSOLL_KEEP"); keep != "" {
				_ = os.WriteFile(filepath.Join(keep, filepath.Base(log.Name())), tail, 0o600)
			}
			f.t.Logf("the last words of server %d:\n%s", i, tail[max(0, len(tail)-4000):])
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(f.t, err)
	require.Contains(f.t, line, "listening on")
}

// health gives a figure of a server, by its path in /health.
func (f *fleet) health(i int, path ...string) float64 {
	res, err := http.Get(f.bases[i] + "/health")
	require.NoError(f.t, err)
	defer res.Body.Close()
	var v any
	require.NoError(f.t, json.NewDecoder(res.Body).Decode(&v))
	for _, p := range path {
		v = v.(map[string]any)[p]
	}
	n, ok := v.(float64)
	require.True(f.t, ok, "%v: %v", path, v)
	return n
}

func (f *fleet) live(i int) (online, calls int) {
	res, err := http.Get(f.bases[i] + "/stats/live")
	if err != nil {
		return -1, -1
	}
	defer res.Body.Close()
	var v struct{ OnlineUsers, ActiveCalls int }
	_ = json.NewDecoder(res.Body).Decode(&v)
	return v.OnlineUsers, v.ActiveCalls
}

func (f *fleet) keys() (n int64) {
	count := func(c redis.UniversalClient) error {
		k, err := c.DBSize(context.Background()).Result()
		n += k
		return err
	}
	if c, ok := f.rdb.(*redis.ClusterClient); ok {
		n, _ = c.DBSize(context.Background()).Result()
		return n
	}
	_ = count(f.rdb)
	return n
}

// redisFigure sums one line of INFO over all servers of Redis.
func (f *fleet) redisFigure(section, name string) (sum float64) {
	one := func(c *redis.Client) {
		text, _ := c.Info(context.Background(), section).Result()
		for line := range strings.Lines(text) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
				n, _ := strconv.ParseFloat(v, 64)
				sum += n
			}
		}
	}
	switch c := f.rdb.(type) {
	case *redis.ClusterClient:
		_ = c.ForEachMaster(context.Background(), func(_ context.Context, c *redis.Client) error { one(c); return nil })
	case *redis.Client:
		one(c)
	}
	return sum
}

// canary is a call of two people on two servers, in which a line is said five
// times a second: it shows when the platform works again.
type canary struct {
	f    *fleet
	a, b *visitor
	tabs [2]*tab
	room string
}

func (f *fleet) canary(one, other int) *canary {
	c := &canary{f: f, a: signUp(f.t, f.bases[one], "Canary A"), b: signUp(f.t, f.bases[other], "Canary B")}
	c.tabs = [2]*tab{c.a.open(), c.b.open()}
	c.room = meet(f.t, c.tabs[0], c.tabs[1], 1800)
	c.works()
	return c
}

// works says one line and waits until it is there; it gives how long that took
// with all that was refused before.
func (c *canary) works() time.Duration {
	c.f.t.Helper()
	began := time.Now()
	for {
		text := fmt.Sprint("line ", time.Now().UnixNano())
		if _, code := c.tabs[0].ask("room:chat", object{"roomId": c.room, "text": text}); code == "" {
			for c.tabs[1].expect("room:chat")["text"] != text {
			}
			return time.Since(began)
		}
		require.Less(c.f.t, time.Since(began), patience)
		time.Sleep(220 * time.Millisecond) // five lines a second are allowed
	}
}

// move opens a tab of one of the two on another server, back in the call.
func (c *canary) move(side, to int) {
	v := []*visitor{c.a, c.b}[side]
	v.base = c.f.bases[to]
	began := time.Now()
	for {
		b, _, err := v.tryOpen("")
		if err == nil {
			b.hello = b.expect("hello")
			c.f.t.Logf("a socket on server %d after %v", to, time.Since(began).Round(time.Millisecond))
			if call, ok := b.hello["call"].(object); ok && call["roomId"] == c.room {
				if _, code := b.ask("call:resume", object{"roomId": c.room}); code == "" {
					c.f.t.Logf("in the call again after %v", time.Since(began).Round(time.Millisecond))
					c.tabs[side] = b
					return
				}
			}
		}
		require.Less(c.f.t, time.Since(began), patience)
		time.Sleep(50 * time.Millisecond)
	}
}

// TestCrowdOnThreeServers is three server processes, one PostgreSQL and one Redis under
// load, while Redis is killed and comes back empty, is stopped for 5 s, a server is
// killed and one is drained. An outside checker numbers all that people say.
//
//	PLIMSOLL_CLUSTER_USERS=10000 go test -run TestCrowdOnThreeServers -v -timeout 30m ./examples/speeddating
func TestCrowdOnThreeServers(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of load")
	}
	users := crowdSize(200)
	rds := redistest.New(t)
	f := newFleet(t, 3, users, rds.Client(t), rds.URL())
	calm := 5 * time.Second // between the faults
	if users > 1000 {
		calm = 20 * time.Second
	}
	base := f.keys()
	back := map[string]time.Duration{}
	faults := func(ctx context.Context, l load.Live) {
		c := f.canary(0, 1)
		f.costs(ctx, l, calm)
		t.Log("Redis is killed: ", l.Line())
		rds.Kill(t)
		time.Sleep(time.Second)
		rds.Start(t)
		back["Redis killed, back empty after 1 s"] = c.works()
		time.Sleep(calm)

		t.Log("Redis is stopped: ", l.Line())
		rds.Pause(t)
		time.Sleep(5 * time.Second)
		rds.Resume(t)
		back["Redis stopped for 5 s"] = c.works()
		time.Sleep(calm)

		t.Log("a server is killed: ", l.Line())
		began := time.Now()
		require.NoError(t, f.cmds[1].Process.Kill()) // the second of the canary is there
		_ = f.cmds[1].Wait()                         // killed
		c.move(1, 2)
		c.works()
		back["server killed, its person in the call again on another one"] = time.Since(began)
		time.Sleep(calm)
		f.start(1)

		t.Log("a server is drained: ", l.Line())
		require.NoError(t, f.cmds[0].Process.Signal(syscall.SIGTERM)) // it owns the canary's call
		require.Equal(t, 1012, c.tabs[0].closed())
		began = time.Now()
		c.move(0, 1)
		c.works()
		back["server drained, its call goes on on another one"] = time.Since(began)
		require.NoError(t, f.cmds[0].Wait(), "exit status 0")
		f.start(0)
		c.tabs[0].must("call:end", object{"roomId": c.room})
		c.tabs[0].bye()
		c.tabs[1].bye()
		f.limits()
		f.settled(ctx, l)
	}
	report, err := load.Run(t.Context(), load.Options{
		URL: f.bases[0], More: f.bases[1:], Users: users, Faults: true, During: faults, Duration: time.Second,
		Ramp: ramp(users), Call: 10 * time.Second, Pace: pace(users), QueueEvery: time.Minute,
		Patience: crowdPatience(users), SourceAddresses: min(users/20+1, 100),
		Progress: func(s string) { t.Log(s) },
	})
	require.NoError(t, err)
	for what, took := range back {
		t.Logf("%s: works after %v", what, took.Round(time.Millisecond))
	}
	f.judge(report)
	// Two seconds, and one more since two cores play the people as well, a third
	// of whom come back at the same time.
	for what, took := range back {
		require.Less(t, took, 3*time.Second, what)
	}
	if users > 200 {
		f.empty(base) // it takes two minutes until the last is forgotten
	}
}

// pace is from one call of a person to the next: a machine with two cores plays
// all parts.
func pace(users int) time.Duration {
	if users > 1000 {
		return 5 * time.Minute
	}
	return 20 * time.Second
}

// crowdPatience is how long anything may take: two cores that play ten thousand
// people, half of whom come back at once, are busy for a while.
func crowdPatience(users int) time.Duration {
	if users > 1000 {
		return time.Minute
	}
	return 20 * time.Second
}

// ramp is how long people take to arrive: the more are here, the more are told
// of each.
func ramp(users int) time.Duration {
	if users > 1000 {
		return time.Duration(users) * 15 * time.Millisecond
	}
	return time.Duration(users) * 10 * time.Millisecond
}

// costs measures what Redis does for one message that a person gets.
func (f *fleet) costs(ctx context.Context, l load.Live, d time.Duration) {
	time.Sleep(d / 2)
	bus := func(name string) (sum float64) {
		for i := range f.bases {
			sum += f.health(i, "platform", "bus", name)
		}
		return sum
	}
	commands, in, out := f.redisFigure("stats", "total_commands_processed"), f.redisFigure("stats", "total_net_input_bytes"), f.redisFigure("stats", "total_net_output_bytes")
	delivered, all, crossed, letters := l.Delivered(), l.Messages(), bus("delivered"), bus("letters")
	redisCPU := f.redisFigure("cpu", "used_cpu_user") + f.redisFigure("cpu", "used_cpu_sys")
	cpu, began := f.cpu(), time.Now()
	time.Sleep(d)
	took := time.Since(began).Seconds()
	for i, before := range cpu {
		online := f.health(i, "platform", "sockets")
		f.t.Logf("server %d: %.0f sockets, %.0f calls, %.2f cores, %.1f MiB RSS", i, online, f.health(i, "platform", "calls"), (f.cpu()[i]-before)/took, f.rss(i))
	}
	f.t.Logf("Redis: %.2f cores, %.1f MiB, %d keys", (f.redisFigure("cpu", "used_cpu_user")+f.redisFigure("cpu", "used_cpu_sys")-redisCPU)/took,
		f.redisFigure("memory", "used_memory")/(1<<20), f.keys())
	n, heard := float64(l.Delivered()-delivered), float64(l.Messages()-all)
	crossed = bus("delivered") - crossed
	commands = f.redisFigure("stats", "total_commands_processed") - commands
	f.t.Logf("%.0f messages to people in %v, and %.0f that tell who is free; %.0f messages from server to server in %.0f letters", n, d, heard-n, crossed, bus("letters")-letters)
	f.t.Logf("commands of Redis, those in scripts included: %.0f, which is %.2f a delivered message, %.2f if none that tells who is free counts; bytes a delivered message: %.0f in, %.0f out",
		commands, commands/heard, commands/n,
		(f.redisFigure("stats", "total_net_input_bytes")-in)/heard, (f.redisFigure("stats", "total_net_output_bytes")-out)/heard)
	f.t.Logf("commands of Redis: %s", f.commands())
	if heard/d.Seconds() > 1000 { // at rest the leases of three servers are most of it
		require.LessOrEqual(f.t, commands/heard, 1.1)
	}
}

// cpu gives the seconds that each server has used.
func (f *fleet) cpu() (list []float64) {
	for _, cmd := range f.cmds {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		_, rest, _ := strings.Cut(string(b), ") ")
		var ticks float64
		for i, field := range strings.Fields(rest) {
			if i == 11 || i == 12 {
				n, _ := strconv.ParseFloat(field, 64)
				ticks += n
			}
		}
		list = append(list, ticks/100)
	}
	return list
}

// rss gives the MiB that a server has.
func (f *fleet) rss(i int) (mib float64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", f.cmds[i].Process.Pid))
	var all, resident float64
	_, _ = fmt.Sscan(string(b), &all, &resident)
	return resident * float64(os.Getpagesize()) / (1 << 20)
}

// commands are those that Redis carried out most.
func (f *fleet) commands() string {
	text, _ := f.rdb.Info(context.Background(), "commandstats").Result()
	var list []string
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		if calls, _, _ := strings.Cut(rest, ","); ok && len(calls) > 2 {
			list = append(list, name+" "+calls)
		}
	}
	return strings.Join(list, ", ")
}

// limits has people open a third socket on all servers: two stay.
func (f *fleet) limits() {
	for i := range 10 {
		v := signUp(f.t, f.bases[i%3], "Greedy")
		var tabs []*tab
		for j := range 5 {
			v.base = f.bases[(i+j)%3]
			tabs = append(tabs, v.open())
		}
		for _, b := range tabs[:3] {
			require.Equal(f.t, 4001, b.closed())
		}
		for _, b := range tabs[3:] {
			b.must("queue:leave", nil)
			b.bye()
		}
	}
}

// settled waits until every server counts exactly those who have a socket: 30 s
// after the last fault there are no ghosts.
func (f *fleet) settled(ctx context.Context, l load.Live) {
	began := time.Now()
	for {
		ok := l.Connected() > 0
		var got []int
		for i := range f.bases {
			online, _ := f.live(i)
			got = append(got, online)
			ok = ok && int64(online) == l.Connected()
		}
		if ok {
			f.t.Logf("every server counts the %d who are here, %v after the last fault", l.Connected(), time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > 30*time.Second {
			f.t.Errorf("30 s after the last fault: %d have a socket, the servers count %v", l.Connected(), got)
			return
		}
		if ctx.Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// judge looks at what the checker found, and at the database.
func (f *fleet) judge(r *load.Report) {
	t := f.t
	var text strings.Builder
	require.NoError(t, r.WriteText(&text))
	t.Log("\n" + text.String())
	require.Zero(t, r.Lost, "messages that the platform took and lost in silence")
	require.Zero(t, r.Doubled)
	require.Zero(t, r.Reordered)
	require.Empty(t, r.Errors)
	require.EqualValues(t, r.Users, r.Connected)
	require.NotZero(t, r.CallsCompleted)
	sql := func(text string) string { return f.pg.SQL(t, f.db, text) }
	require.Eventually(t, func() bool { return sql("SELECT count(*) FROM calls") == "0" }, patience, 500*time.Millisecond, "every call is over")
	pairs := sql("SELECT count(DISTINCT room_id) FROM histories")
	require.NotEqual(t, "0", pairs)
	require.Equal(t, "0", sql("SELECT count(*) FROM (SELECT room_id FROM histories GROUP BY room_id HAVING count(*) <> 2) x"), "histories come in pairs")
	require.Equal(t, "0", sql(`SELECT count(*) FROM histories a JOIN histories b ON a.user_id = b.user_id AND a.room_id < b.room_id
		AND a.started_at < b.ended_at AND b.started_at < a.ended_at`), "nobody is in two calls")
	t.Logf("%s calls, all in two histories, nobody in two at once", pairs)
}

// empty waits until Redis has what it had before anybody came.
func (f *fleet) empty(base int64) {
	began := time.Now()
	for f.keys() != base || func() int { n, _ := f.live(0); return n }() != 0 {
		if time.Since(began) > 150*time.Second {
			keys, _ := f.rdb.Keys(context.Background(), "*").Result()
			f.t.Errorf("Redis has %d keys, at first it had %d: %.40q", f.keys(), base, keys)
			return
		}
		time.Sleep(250 * time.Millisecond)
	}
	f.t.Logf("DBSIZE is %d again, %v after all have left", base, time.Since(began).Round(100*time.Millisecond))
}

// TestCrowdOnRedisCluster is the same load on a Redis Cluster of three masters whose
// slots move meanwhile.
func TestCrowdOnRedisCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of load")
	}
	users := crowdSize(60)
	rds := redistest.NewCluster(t)
	f := newFleet(t, 3, users, rds.Client(t), "redis://"+rds.Addrs()[0]+"?addr="+rds.Addrs()[1]+"&addr="+rds.Addrs()[2])
	base := f.keys()
	move := func(ctx context.Context, l load.Live) {
		c := f.canary(0, 1)
		for range 6 {
			slots := map[int]bool{}
			var mu sync.Mutex // masters are asked at the same time
			require.NoError(t, rds.Client(t).ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error {
				keys, err := m.Keys(ctx, "*").Result()
				mu.Lock()
				defer mu.Unlock()
				for _, k := range keys {
					slots[rds.Slot(t, k)] = true
				}
				return err
			}))
			for slot := range slots {
				rds.Move(t, slot, (rds.Owner(t, slot)+1)%3)
			}
			took := c.works()
			t.Logf("%d slots, all that have keys, have moved; a line took %v: %s", len(slots), took.Round(time.Millisecond), l.Line())
			require.Less(t, took, 2*time.Second)
			time.Sleep(4 * time.Second)
		}
		c.tabs[0].must("call:end", object{"roomId": c.room})
		c.tabs[0].bye()
		c.tabs[1].bye()
		f.settled(ctx, l)
	}
	report, err := load.Run(t.Context(), load.Options{
		URL: f.bases[0], More: f.bases[1:], Users: users, Faults: true, During: move, Duration: time.Second,
		Ramp: ramp(users), Call: 10 * time.Second, Pace: pace(users), QueueEvery: time.Minute,
		Patience: crowdPatience(users), SourceAddresses: min(users/20+1, 100),
		Progress: func(s string) { t.Log(s) },
	})
	require.NoError(t, err)
	f.judge(report)
	f.empty(base)
}
