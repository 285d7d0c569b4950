package signaling

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientIsSmall(t *testing.T) {
	require.LessOrEqual(t, len(ClientJS), 6<<10)
	require.NotContains(t, ClientJS, "import ")
}

// TestClientInNode runs testdata/client.mjs, which drives the browser's client
// with a WebSocket of its own, against a real hub behind a proxy that cuts.
func TestClientInNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node is not installed")
		}
		t.Skip("NOT TESTED: the browser's client, since node is not installed")
	}
	got := make(map[string]int)
	s := serve(t, func(o *Options) {
		o.PingEvery = 200 * time.Millisecond
		o.OnMessage = func(p *Peer, m Message) {
			switch m.Type {
			case "echo":
				p.Reply(m.ID, m.Data)
			case "refuse":
				p.ReplyError(m.ID, "no", "not today")
			case "burst":
				for i := range 500 {
					p.Send(Data, "n", i)
				}
				p.Reply(m.ID, nil)
			case "count":
				got[string(m.Data)]++ // one user, one session: callbacks are serial
				p.Reply(m.ID, got[string(m.Data)])
			case "kick":
				p.Close(4002, "elsewhere")
			case "later":
				p.Close(1013, "retry-after=60")
			case "busy":
				p.Close(1013, "retry-after=0.2")
			}
		}
		o.QueueMessages = 2000
	})
	proxy := newCutter(t, strings.TrimPrefix(s.url, "ws://"))
	control, err := net.Listen("tcp", "127.0.0.1:0") // "N" means: cut after N bytes from now on
	require.NoError(t, err)
	defer control.Close()
	go func() {
		for {
			c, err := control.Accept()
			if err != nil {
				return
			}
			var n int64
			fmt.Fscan(c, &n)
			proxy.after.Store(n)
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--test", "testdata/client.mjs")
	cmd.Env = append(os.Environ(), "HUB=ws://"+proxy.l.Addr().String()+"/", "CONTROL="+control.Addr().String())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	t.Logf("%s", out)
}
