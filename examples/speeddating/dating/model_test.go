package dating_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// TestModel does random things on one and on two nodes and compares every
// answer, and the state between, with a naive model of the rules. MODEL_SEED
// replays a run, MODEL_STEPS makes it longer.
func TestModel(t *testing.T) {
	steps := 800
	if n, err := strconv.Atoi(os.Getenv("MODEL_STEPS")); err == nil {
		steps = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("MODEL_SEED"), 10, 64); err == nil {
		seed = n
	}
	for _, nodes := range []int{1, 2} {
		t.Run(fmt.Sprint("nodes=", nodes), func(t *testing.T) {
			rules := dating.Rules{FlushEvery: time.Minute, NodeLease: time.Hour, GuestFor: 10 * 365 * 24 * time.Hour}
			bubbleRules(t, nodes, rules, func(t *testing.T, w *world) {
				t.Logf("MODEL_SEED=%d", seed)
				m := &model{T: t, w: w, r: rand.New(rand.NewPCG(seed, 1)), apart: map[[2]dating.UserID]time.Time{}, past: map[dating.UserID]int{}}
				for range 8 {
					c, err := w.nodes[0].SignUp(ctx, dating.Newcomer{Name: "P", Gender: "male"})
					require.NoError(t, err)
					se, err := w.nodes[0].Authenticate(ctx, c.Token)
					require.NoError(t, err)
					m.people = append(m.people, &modelPerson{id: c.UserID, session: se})
				}
				for i := range steps {
					m.step = i
					m.act()
					m.settle()
					m.check()
				}
				for _, p := range m.people {
					for len(p.tabs) > 0 {
						m.close(p, 0)
					}
				}
				time.Sleep(10 * time.Second) // two nodes may have to ask each other
				m.settle()
				m.check()
				for _, s := range w.nodes {
					st := s.Stats()
					require.Zero(t, st.People+st.Sockets+st.Invites+st.Calls+st.Bus.Claims)
				}
				t.Logf("%d steps, refusals and successes: %v", steps, m.seen)
			})
		})
	}
}

type model struct {
	*testing.T
	w      *world
	r      *rand.Rand
	people []*modelPerson
	meets  []*modelMeet // open invites and calls
	apart  map[[2]dating.UserID]time.Time
	past   map[dating.UserID]int // histories
	tabs   int
	step   int
	seen   map[string]int
	did    []string // the last things that were done
}

func (m *model) note(format string, args ...any) {
	if len(m.did) == 40 {
		m.did = m.did[1:]
	}
	m.did = append(m.did, fmt.Sprintf("%d %s ", m.step, time.Now().Format("05.000"))+fmt.Sprintf(format, args...))
}

// trace tells what was done last, and who is in the queue of which node.
func (m *model) trace() string {
	lines := slices.Clone(m.did)
	for _, p := range m.people {
		var line strings.Builder
		line.WriteString(fmt.Sprintf("%s free=%v wants=%v", p.id, p.free(), p.wants))
		for _, t := range p.tabs {
			line.WriteString(" " + t.node.Stats().Node)
		}
		for _, s := range m.w.nodes {
			line.WriteString(fmt.Sprintf(" listed(%s)=%v", s.Stats().Node, s.tracker.Has("queue", string(p.id))))
		}
		lines = append(lines, line.String())
	}
	return strings.Join(lines, "\n")
}

type modelPerson struct {
	id      dating.UserID
	session dating.Session
	tabs    []modelTab
	wants   bool
	meet    *modelMeet
}

type modelTab struct {
	id   string
	node *server
}

// modelMeet is an invite, and then the call.
type modelMeet struct {
	id      string
	two     [2]*modelPerson
	seconds int
	left    int
	call    bool
	began   time.Time
	ends    time.Time
	tab     [2]string    // in the call
	lost    [2]time.Time // when the tab in the call was closed
}

func pair(a, b dating.UserID) [2]dating.UserID { return [2]dating.UserID{min(a, b), max(a, b)} }

func (p *modelPerson) free() bool { return p.wants && p.meet == nil && len(p.tabs) > 0 }

// expect compares an answer with what the model says.
func (m *model) expect(what string, want dating.Code, err error) {
	m.Helper()
	if m.seen == nil {
		m.seen = map[string]int{}
	}
	m.seen[what+" "+string(want)]++
	m.note("%s %s", what, want)
	require.Equal(m.T, want, dating.CodeOf(err), "step %d: %s: %v", m.step, what, err)
}

// passed moves the model's clock: what should have happened by now.
func (m *model) passed() {
	now := time.Now()
	for _, x := range slices.Clone(m.meets) {
		for i := range x.two {
			if x.call && !x.lost[i].IsZero() && x.lost[i].Add(30*time.Second).Before(x.ends) && !now.Before(x.lost[i].Add(30*time.Second)) {
				m.over(x, x.lost[i].Add(30*time.Second))
			}
		}
		if !now.Before(x.ends) {
			m.over(x, x.ends)
		}
	}
}

// over ends an invite or a call at a time.
func (m *model) over(x *modelMeet, at time.Time) {
	i := slices.Index(m.meets, x)
	if i < 0 {
		return
	}
	m.meets = slices.Delete(m.meets, i, i+1)
	for _, p := range x.two {
		p.meet = nil
	}
	if x.call && at.Sub(x.began) >= 5*time.Second {
		m.keepApart(x, at.Add(24*time.Hour))
		m.past[x.two[0].id]++
		m.past[x.two[1].id]++
	}
}

func (m *model) keepApart(x *modelMeet, until time.Time) {
	key := pair(x.two[0].id, x.two[1].id)
	if until.After(m.apart[key]) {
		m.apart[key] = until
	}
}

func (m *model) settle() {
	if m.r.IntN(3) == 0 {
		time.Sleep(time.Duration(m.r.IntN(12_000))*time.Millisecond + 7*time.Microsecond)
	} else {
		time.Sleep(time.Duration(m.r.IntN(800)) * time.Millisecond)
	}
	if m.r.IntN(100) == 0 {
		time.Sleep(6 * time.Hour)
	}
	synctest.Wait()
	m.passed()
	// Until both trackers know; something may happen just before each look.
	for range 5 * (len(m.w.nodes) - 1) {
		time.Sleep(time.Second)
		synctest.Wait()
		m.passed()
		if m.w.nodes[0].LiveStats() == m.w.nodes[1].LiveStats() {
			break
		}
	}
}

// check compares the state of the platform with the model's.
func (m *model) check() {
	m.Helper()
	calls, invites, free, online := 0, 0, 0, 0
	for _, x := range m.meets {
		if x.call {
			calls++
		} else {
			invites++
		}
	}
	for _, p := range m.people {
		if p.free() {
			free++
		}
		if len(p.tabs) > 0 {
			online++
		}
	}
	var got [2]int
	for _, s := range m.w.nodes {
		st := s.Stats()
		got[0] += st.Calls
		got[1] += st.Invites
	}
	require.Equal(m.T, [2]int{calls, invites}, got, "step %d: calls and invites\n%s", m.step, m.trace())
	for _, s := range m.w.nodes {
		require.Equal(m.T, dating.Live{OnlineUsers: online, AvailableUsers: free, ActiveCalls: m.talking() / 2}, s.LiveStats(), "step %d on %s\n%s", m.step, s.Stats().Node, m.trace())
	}
	if m.step%50 == 0 {
		for _, p := range m.people {
			list, _, err := m.w.store.History(ctx, p.id, dating.HistoryKey{}, 10_000, 1<<30)
			require.NoError(m.T, err)
			require.Len(m.T, list, m.past[p.id], "step %d", m.step)
		}
	}
}

// talking is how many people with a tab are in a call.
func (m *model) talking() (n int) {
	for _, p := range m.people {
		if p.meet != nil && p.meet.call && len(p.tabs) > 0 {
			n++
		}
	}
	return n
}

func (m *model) somebody() *modelPerson { return m.people[m.r.IntN(len(m.people))] }

// act does one random thing.
func (m *model) act() {
	p := m.somebody()
	if len(m.meets) > 0 && m.r.IntN(3) == 0 {
		p = m.meets[m.r.IntN(len(m.meets))].two[m.r.IntN(2)]
	}
	if len(p.tabs) == 0 || m.r.IntN(12) == 0 && len(p.tabs) < 3 {
		m.open(p)
		return
	}
	tab := p.tabs[m.r.IntN(len(p.tabs))]
	s := tab.node
	m.note("%s of %d tabs, with %s on %s", p.id, len(p.tabs), tab.id, s.Stats().Node)
	id := "n1.none"
	var x *modelMeet
	if len(m.meets) > 0 && m.r.IntN(10) > 0 {
		x = m.meets[m.r.IntN(len(m.meets))]
		if p.meet != nil && m.r.IntN(4) > 0 {
			x = p.meet
		}
		id = x.id
	}
	role := -1 // of p in x
	if x != nil {
		role = slices.Index(x.two[:], p)
	}
	// may gives the code for something that only role want may do with an
	// invite; calls are another matter.
	may := func(want int) dating.Code {
		switch {
		case x == nil || x.call:
			return dating.NotFound
		case role != want:
			return dating.Forbidden
		}
		return ""
	}
	inCall := func() dating.Code {
		switch {
		case x == nil || !x.call:
			return dating.NotFound
		case role < 0:
			return dating.Forbidden
		}
		return ""
	}
	switch m.r.IntN(13) {
	case 0:
		want := dating.Code("")
		if p.meet != nil && p.meet.call {
			want = dating.Busy
		}
		m.expect("join", want, s.JoinQueue(ctx, p.id, tab.id))
		if want == "" {
			p.wants = true
		}
	case 1:
		m.expect("leave", "", s.LeaveQueue(ctx, p.id, tab.id))
		p.wants = false
	case 2, 3, 4:
		m.invite(p, tab)
	case 5, 6:
		want := may(1)
		_, err := s.Accept(ctx, p.id, tab.id, id, 60)
		m.expect("accept", want, err)
		if want == "" {
			x.call, x.began, x.tab[1] = true, time.Now(), tab.id
			x.ends = x.began.Add(time.Duration((x.seconds+60)/2) * time.Second)
			for i, p := range x.two {
				p.wants = false
				if !slices.ContainsFunc(p.tabs, func(t modelTab) bool { return t.id == x.tab[i] }) {
					m.lose(x, i)
				}
			}
		}
	case 7:
		want := may(1)
		m.expect("decline", want, s.Decline(ctx, p.id, id))
		if want == "" {
			m.keepApart(x, time.Now().Add(24*time.Hour))
			m.over(x, time.Now())
		}
	case 8:
		want := may(0)
		if want == "" && m.r.IntN(2) == 0 {
			m.expect("rescind", want, s.Rescind(ctx, p.id, id))
			m.keepApart(x, time.Now().Add(time.Hour))
			m.over(x, time.Now())
			return
		}
		if want == "" && x.left == 0 {
			want = dating.TooMany
		}
		_, err := s.ExtendWait(ctx, p.id, id)
		m.expect("extend", want, err)
		if want == "" {
			x.left--
			x.ends = x.ends.Add(20 * time.Second)
		}
	case 9:
		m.expect("end", inCall(), s.EndCall(ctx, p.id, id))
		if inCall() == "" {
			m.over(x, time.Now())
		}
	case 10:
		_, err := s.Resume(ctx, p.id, tab.id, id)
		m.expect("resume", inCall(), err)
		if inCall() == "" {
			x.tab[role], x.lost[role] = tab.id, time.Time{}
		}
	case 11:
		s.SocketAway(tab.id)
		if m.r.IntN(2) == 0 {
			s.SocketBack(tab.id)
		}
	case 12:
		m.close(p, slices.Index(p.tabs, tab))
	}
}

func (m *model) open(p *modelPerson) {
	m.tabs++
	t := modelTab{id: fmt.Sprint("tab", m.tabs), node: m.w.nodes[m.r.IntN(len(m.w.nodes))]}
	m.note("%s opens %s on %s", p.id, t.id, t.node.Stats().Node)
	require.NoError(m.T, t.node.SocketOpened(ctx, p.id, t.id, p.session))
	if len(m.w.nodes) > 1 && p.wants { // a node that is new to p may not know
		if want := t.node.JoinQueue(ctx, p.id, t.id); want != nil {
			require.Equal(m.T, dating.Busy, dating.CodeOf(want))
		}
	}
	p.tabs = append(p.tabs, t)
}

func (m *model) invite(p *modelPerson, tab modelTab) {
	to := m.somebody()
	want := dating.Code("")
	switch {
	case to == p:
		want = dating.InvalidTarget
	case p.meet != nil || to.meet != nil:
		want = dating.Busy
	case len(to.tabs) == 0:
		want = dating.Offline
	case !to.free():
		want = dating.Busy
	case time.Now().Before(m.apart[pair(p.id, to.id)]):
		want = dating.Cooldown
	}
	seconds := 60 + m.r.IntN(60)
	in, err := tab.node.Invite(ctx, p.id, tab.id, to.id, seconds)
	m.expect("invite", want, err)
	if want == "" {
		x := &modelMeet{id: in.InviteID, two: [2]*modelPerson{p, to}, seconds: seconds, left: 3, ends: time.Now().Add(20 * time.Second)}
		x.tab[0] = tab.id
		p.meet, to.meet = x, x
		m.meets = append(m.meets, x)
	}
}

func (m *model) close(p *modelPerson, i int) {
	t := p.tabs[i]
	p.tabs = slices.Delete(p.tabs, i, i+1)
	m.note("%s closes %s on %s", p.id, t.id, t.node.Stats().Node)
	t.node.SocketClosed(t.id, true)
	if len(p.tabs) == 0 {
		p.wants = false
	}
	x := p.meet
	if x == nil {
		return
	}
	role := slices.Index(x.two[:], p)
	switch {
	case len(p.tabs) == 0:
		if !x.call && role == 0 {
			m.keepApart(x, time.Now().Add(time.Hour))
		}
		m.over(x, time.Now())
	case x.call && x.tab[role] == t.id:
		m.lose(x, role)
	}
}

func (m *model) lose(x *modelMeet, role int) {
	if x.lost[role].IsZero() {
		x.lost[role] = time.Now()
	}
}
