package presence_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/stretchr/testify/require"
)

// FuzzOperations plays any sequence of calls, bad ones too, on a tracker with
// tight bounds. Whatever it was, bounds hold, screens fit, and when all have
// left nothing is left.
func FuzzOperations(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x05\x01\x02\x09\x01\x02\x0a\x00\xff"))
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 3000 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{limit: 6000}
			tr, err := presence.New(presence.Options{
				MaxUsers: 6, MaxSockets: 8, MaxTopics: 3, MaxWatchers: 3, MaxMeta: 8, MaxWindow: 4, MaxExclude: 2,
				MaxSocketsPerUser: 2, MaxTopicsPerUser: 2, FlapBurst: 3, Account: l,
			})
			require.NoError(t, err)
			var screens []*screen
			for ; len(data) >= 3; data = data[3:] {
				user, other := fmt.Sprint("u", data[1]%10), fmt.Sprint("x", data[2]%4)
				if data[1] == 255 {
					user = ""
				}
				meta := make([]byte, data[2]%10)
				switch data[0] % 14 {
				case 0, 1:
					_ = tr.Connect(user, other, meta)
				case 2:
					_ = tr.ConnectTTL(user, other, meta, time.Duration(int8(data[2]))*time.Second)
				case 3, 4:
					tr.Disconnect(user, other, data[0]%2 == 0)
				case 5, 6:
					_ = tr.Join(other, user, meta)
				case 7:
					tr.Leave(other, user)
				case 8:
					_ = tr.Update(other, user, meta)
				case 9:
					s := &screen{t: t}
					w, err := tr.Watch(other, presence.WatchOptions{
						Limit: int(data[1]%7) - 1, After: uint64(data[2] / 16), Exclude: []string{user}, Deliver: s.deliver,
					})
					if err == nil {
						s.w = w
						screens = append(screens, s)
					}
				case 10:
					if len(screens) > 0 {
						w := screens[int(data[1])%len(screens)].w
						switch data[2] % 5 {
						case 0:
							w.Move(uint64(data[1]))
						case 1:
							_ = w.Exclude(make([]string, data[1]%4))
						case 2:
							w.Resync()
						default:
							w.Close()
						}
					}
				case 11:
					_ = tr.Heartbeat(user, other)
				case 12:
					tr.Remove(user)
					tr.Sweep()
				case 13:
					time.Sleep(time.Duration(data[1]) * time.Duration(data[2]) * time.Millisecond)
					synctest.Wait()
				}
				st := tr.Stats()
				require.LessOrEqual(t, st.Users, 6)
				require.LessOrEqual(t, st.Sockets, 8)
				require.LessOrEqual(t, st.Topics, 3)
				require.LessOrEqual(t, st.Watchers, 3)
				require.LessOrEqual(t, st.Bytes, int64(6000))
			}
			for _, s := range screens {
				s.w.Close()
			}
			for i := range 10 {
				tr.Remove(fmt.Sprint("u", i))
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Zero(t, tr.Stats().Bytes)
			require.Zero(t, l.balance())
			require.NoError(t, tr.Shutdown(context.Background()))
		})
	})
}

// scripted is a Store that says whatever it is told to.
type scripted struct {
	events func(presence.Event)
	read   presence.Update
}

func (s *scripted) Open(_ context.Context, _ string, _ time.Duration, events func(presence.Event)) (presence.Session, error) {
	s.events = events
	return s, nil
}
func (s *scripted) Incarnation() string                              { return "me" }
func (s *scripted) Renew(context.Context) ([]string, error)          { return []string{"me", "n1"}, nil }
func (s *scripted) Subscribe(context.Context, string) error          { return nil }
func (s *scripted) Unsubscribe(context.Context, string) error        { return nil }
func (s *scripted) Apply(context.Context, []presence.Op) error       { return nil }
func (s *scripted) Reap(context.Context, time.Duration) (int, error) { return 0, nil }
func (s *scripted) Close(context.Context) error                      { return nil }
func (s *scripted) Positions(_ context.Context, topics []string) ([]presence.Position, error) {
	return make([]presence.Position, len(topics)), nil
}
func (s *scripted) Read(context.Context, string, presence.Position) (presence.Update, error) {
	return s.read, nil
}

// FuzzEvents feeds a tracker any events, in any order, from a Store that is
// out of its mind. Bounds hold, the account balances, screens fit.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("\x01\x02\x03\x04\x01\x02\x04\x04\x02\x02\x05\x04"))
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz0123456789"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 3000 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{limit: 6000}
			s := &scripted{}
			tr, err := presence.New(presence.Options{
				MaxUsers: 6, MaxSockets: 8, MaxTopics: 3, MaxWatchers: 3, MaxMeta: 8, MaxTopicsPerUser: 2,
				Account: l, Store: s, Node: "me",
			})
			require.NoError(t, err)
			sc := watch(t, tr, "x", presence.WatchOptions{Exclude: []string{"u1"}})
			_ = tr.Connect("u0", "tab", nil)
			_ = tr.Join("x", "u0", nil)
			time.Sleep(time.Second)
			synctest.Wait()
			for ; len(data) >= 4; data = data[4:] {
				e := presence.Event{
					Kind: presence.OpKind(data[0] % 5), Topic: []string{"x", "x", "x", "y"}[data[0]/64],
					Pos:  presence.Position{Epoch: []string{"", "a", "a", "b"}[data[1]/64], Offset: uint64(data[1] % 64)},
					User: fmt.Sprint("u", data[2]%10), Incarnation: []string{"", "me", "n1", "n2"}[data[2]/64],
					Meta: make([]byte, data[3]%10), Seen: uint64(data[3]),
				}
				switch data[3] / 64 {
				case 0:
					s.read = presence.Update{Pos: e.Pos, All: data[3]%2 == 0, Events: []presence.Event{e}}
				case 1:
					time.Sleep(time.Duration(data[3]) * 20 * time.Millisecond)
					synctest.Wait()
				default:
					s.events(e)
				}
				st := tr.Stats()
				require.LessOrEqual(t, st.Users, 6)
				require.LessOrEqual(t, st.Bytes, int64(6000))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, tr.Stats().Bytes, l.balance())
			sc.w.Close()
			require.NoError(t, tr.Shutdown(context.Background()))
			require.Zero(t, l.balance())
		})
	})
}
