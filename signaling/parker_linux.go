package signaling

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// parker waits for all idle sockets at once with one epoll set of its own. The
// set's descriptor is itself registered with the runtime's netpoller, so that
// waiting blocks no thread.
type parker struct {
	hub *Hub
	fd  int
	set *os.File
	raw syscall.RawConn

	mu    sync.Mutex
	table []*socket // by descriptor
	gen   uint32    // tells a reused descriptor's sockets apart
}

// What a socket waits for in the set. It is told of each change once, without
// having to ask again: news holds what it has been told since its last read.
const (
	armRead  = unix.EPOLLIN | unix.EPOLLRDHUP
	armWrite = unix.EPOLLOUT
	failure  = unix.EPOLLERR | unix.EPOLLHUP
)

func newParker(h *Hub) (*parker, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &parker{hub: h, fd: fd, set: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.set.SyscallConn(); err != nil {
		p.set.Close()
		return nil, err
	}
	h.running.Go(p.run)
	return p, nil
}

// close ends run.
func (p *parker) close() { p.set.Close() }

func (p *parker) run() {
	events := make([]unix.EpollEvent, 256)
	sockets := make([]*socket, len(events))
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		p.mu.Lock()
		for i, ev := range events[:n] {
			s := p.table[ev.Fd]
			if s != nil && s.gen != uint32(ev.Pad) {
				s = nil
			}
			sockets[i] = s
		}
		p.mu.Unlock()
		read := sockets[:0]
		for i, s := range sockets[:n] {
			if s != nil && s.ready(events[i].Events) {
				read = append(read, s)
			}
		}
		p.hub.workers.add(read)
		clear(sockets[:n])
		p.hub.workers.start()
	}
}

// ready starts the writing that the socket waited for, and reports whether it
// has waited to be read.
func (s *socket) ready(events uint32) (read bool) {
	p := s.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.dead {
		return false
	}
	if events&(armRead|failure) != 0 {
		s.news.Or(events)
		read, s.idle = s.idle, false
	}
	if s.full && events&(armWrite|failure) != 0 {
		s.full = false
		p.hub.running.Go(s.writable)
	}
	return read
}

// canPark reports whether conn is plain TCP and remembers what is needed to
// work on its descriptor. A wrapper counts as plain if it offers the
// descriptor itself, as one that embeds *net.TCPConn does; TLS does not.
func (s *socket) canPark(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	inner := conn
	if w, ok := conn.(interface{ NetConn() net.Conn }); ok {
		inner = w.NetConn()
	}
	if _, ok := conn.(*tls.Conn); ok {
		return false
	}
	if _, ok := inner.(*net.TCPConn); !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil || raw.Control(func(fd uintptr) { s.fd = int32(fd) }) != nil {
		return false
	}
	s.raw = raw
	return true
}

// enter makes the socket known by its descriptor.
func (k *parker) enter(s *socket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := int(s.fd) + 1 - len(k.table); n > 0 {
		k.table = append(k.table, make([]*socket, n)...)
	}
	k.gen++
	s.gen = k.gen
	k.table[s.fd] = s
}

// unpark forgets the socket. It must be called before its connection closes.
func (h *Hub) unpark(s *socket) {
	if !s.parked {
		return
	}
	k := h.parker
	k.mu.Lock()
	defer k.mu.Unlock()
	if int(s.fd) < len(k.table) && k.table[s.fd] == s {
		k.table[s.fd] = nil
		unix.EpollCtl(k.fd, unix.EPOLL_CTL_DEL, int(s.fd), nil)
	}
}

// park has the socket wait, without a goroutine, until there is something to
// read. It reports false if something has come since the last read.
func (s *socket) park() bool {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	return s.parkLocked()
}

func (s *socket) parkLocked() bool {
	if s.dead { // its descriptor may be another's already
		return true
	}
	if !s.known {
		s.watchLocked(armRead)
	}
	s.idle = s.news.Load() == 0
	return s.idle
}

// awaitWritable waits, without a goroutine, until the kernel takes more.
func (s *socket) awaitWritable() {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	if !s.dead {
		s.full = true
		s.watchLocked(armRead | armWrite)
	}
}

// watchLocked registers what the socket waits for from now on. The set reports
// at once what is already so.
func (s *socket) watchLocked(what uint32) {
	op := unix.EPOLL_CTL_MOD
	if !s.known {
		s.known, op = true, unix.EPOLL_CTL_ADD
		s.peer.hub.parker.enter(s)
	}
	ev := unix.EpollEvent{Events: what | unix.EPOLLET, Fd: s.fd, Pad: int32(s.gen)}
	if err := unix.EpollCtl(s.peer.hub.parker.fd, op, int(s.fd), &ev); err != nil {
		s.peer.hub.log.Error("epoll_ctl", "error", err)
		s.peer.hub.running.Go(func() { s.lost(CloseInfo{Code: 1006, Reason: "epoll_ctl"}) })
	}
}

// descriptorOp is one read or write that must not wait, with its callback for
// RawConn made beforehand.
type descriptorOp struct {
	b    []byte
	n    int
	err  error
	call func(uintptr)
}

var (
	reads = sync.Pool{New: func() any {
		op := new(descriptorOp)
		op.call = func(fd uintptr) {
			for {
				op.n, op.err = unix.Read(int(fd), op.b)
				if op.err != unix.EINTR {
					return
				}
			}
		}
		return op
	}}
	writes = sync.Pool{New: func() any {
		op := new(descriptorOp)
		op.call = func(fd uintptr) {
			for op.n < len(op.b) {
				n, err := unix.Write(int(fd), op.b[op.n:])
				if err == unix.EINTR {
					continue
				}
				if err != nil {
					op.err = err
					return
				}
				op.n += n
			}
		}
		return op
	}}
)

// do works on s's descriptor. Control keeps it open meanwhile, as Read and Write
// of a RawConn do, and spares what they do to be able to wait.
func (op *descriptorOp) do(s *socket, b []byte) (int, error) {
	op.b, op.n, op.err = b, 0, nil
	err := s.raw.Control(op.call)
	if err == nil {
		err = op.err
	}
	op.b = nil
	return max(op.n, 0), err
}

// readNow reads what is there, or returns errNothing.
func (s *socket) readNow(b []byte) (int, error) {
	if s.raw == nil {
		return 0, errNothing
	}
	if s.drained && s.polling {
		s.drained = false
		return 0, errNothing
	}
	news := s.news.Swap(0)
	op := reads.Get().(*descriptorOp)
	n, err := op.do(s, b)
	reads.Put(op)
	// What comes now the set reports; but not the end again, if it has.
	s.drained = n < len(b) && news&(unix.EPOLLRDHUP|failure) == 0
	switch {
	case err == unix.EAGAIN:
		return 0, errNothing
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// writeNow writes as much as the kernel takes at once.
func (s *socket) writeNow(b []byte) (int, error) {
	op := writes.Get().(*descriptorOp)
	n, err := op.do(s, b)
	writes.Put(op)
	if err == unix.EAGAIN {
		err = nil
	}
	return n, err
}
