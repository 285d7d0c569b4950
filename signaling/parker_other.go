//go:build !linux

package signaling

import "net"

// parker is the parked mode, which only Linux has.
type parker struct{}

func newParker(*Hub) (*parker, error)            { return nil, nil }
func (*parker) close()                           {}
func (h *Hub) unpark(*socket)                    {}
func (s *socket) canPark(net.Conn) bool          { return false }
func (s *socket) park() bool                     { return true }
func (s *socket) parkLocked() bool               { return true }
func (s *socket) awaitWritable()                 {}
func (s *socket) readNow([]byte) (int, error)    { return 0, errNothing }
func (s *socket) writeNow(b []byte) (int, error) { return s.conn.Write(b) }
