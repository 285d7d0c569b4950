package dating

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// lineBytes is what a line of chat costs beside its text.
const lineBytes = 128

// Chat relays a line to both and keeps it. Invalid, NotFound, Forbidden,
// TooMany.
func (p *Platform) Chat(ctx context.Context, id UserID, roomID, text string) error {
	text = strings.TrimSpace(text)
	if text == "" || !utf8.ValidString(text) || utf8.RuneCountInString(text) > p.rules.ChatRunes || strings.ContainsFunc(text, unprintable) {
		return refuse(Invalid, "a line has 1 to 500 characters")
	}
	_, err := p.send(ctx, command{Verb: verbChat, User: id, ID: roomID, Text: text, Once: rand.Uint64()})
	return err
}

// unprintable are the control characters that nobody types; each would take
// six bytes wherever a line is JSON.
func unprintable(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

// chat is carried out on the call's node.
func (p *Platform) chat(c command) error {
	cost := int64(lineBytes + len(c.Text))
	p.mu.Lock()
	cl, i, err := p.callLocked(c.ID, c.User)
	if err == nil && slices.Contains(cl.sides[i].said, c.Once) {
		p.mu.Unlock()
		return nil
	}
	if err == nil && !cl.sides[i].mayChat(p.rules.ChatPerSec) {
		err = refuse(TooMany, "slower, please")
	}
	if err == nil {
		err = p.reserve(cost)
	}
	if err != nil {
		p.mu.Unlock()
		return err
	}
	cl.sides[i].sayOnce(c.Once)
	cl.bytes += cost
	line := ChatLine{From: c.User, Text: c.Text, At: now()}
	cl.chat = append(cl.chat, line)
	if len(cl.chat) > p.rules.ChatKept {
		freed := int64(lineBytes + len(cl.chat[0].Text))
		cl.chat = append(cl.chat[:0], cl.chat[1:]...)
		cl.bytes -= freed
		p.release(freed)
	}
	p.sayLocked(cl, Pending{Chat: &line})
	sent := line
	sent.RoomID = cl.RoomID
	p.toBothLocked(cl, ChatKind, &sent)
	p.mu.Unlock()
	p.flush()
	return nil
}

// mayChat allows n lines in any second.
func (s *side) mayChat(n int) bool {
	now := time.Now()
	if len(s.chatted) >= n {
		if now.Sub(s.chatted[0]) < time.Second {
			return false
		}
		s.chatted = append(s.chatted[:0], s.chatted[1:]...)
	}
	s.chatted = append(s.chatted, now)
	return true
}

// saidOnce is how many commands of a side a call knows again.
const saidOnce = 16

// sayOnce notes a command. A node that leaves may have carried one out, itself
// or by the node that has the call now, and be gone before its answer: then the
// command comes again, to the node that has the call.
func (s *side) sayOnce(id uint64) {
	if id == 0 {
		return // of a server that does not number them
	}
	if len(s.said) == saidOnce {
		s.said = slices.Delete(s.said, 0, 1)
	}
	s.said = append(s.said, id)
}

// GiveSocial relays handles to both and keeps them. Invalid, NotFound,
// Forbidden, TooMany.
func (p *Platform) GiveSocial(ctx context.Context, id UserID, roomID string, s Socials) error {
	s, err := p.checkSocials(s)
	if err != nil {
		return err
	}
	if len(s) == 0 {
		return refuse(Invalid, "no handles are given")
	}
	_, err = p.send(ctx, command{Verb: verbSocial, User: id, ID: roomID, Socials: s, Once: rand.Uint64()})
	return err
}

// social is carried out on the call's node. A side's handles replace those it gave before.
func (p *Platform) social(c command) error {
	p.mu.Lock()
	cl, i, err := p.callLocked(c.ID, c.User)
	if err == nil && slices.Contains(cl.sides[i].said, c.Once) {
		p.mu.Unlock()
		return nil
	}
	if err == nil && !cl.sides[i].mayChat(p.rules.ChatPerSec) {
		err = refuse(TooMany, "slower, please")
	}
	if err != nil {
		p.mu.Unlock()
		return err
	}
	cl.sides[i].sayOnce(c.Once)
	given := SocialShared{From: c.User, Socials: c.Socials, At: now()}
	kept := make([]SocialShared, 0, 2)
	for _, s := range cl.socials {
		if s.From != c.User {
			kept = append(kept, s)
		}
	}
	cl.socials = append(kept, given)
	p.sayLocked(cl, Pending{Socials: &given})
	sent := given
	sent.RoomID = cl.RoomID
	p.toBothLocked(cl, SocialSharedKind, &sent)
	p.mu.Unlock()
	p.flush()
	return nil
}

func (p *Platform) toBothLocked(c *call, kind string, data any) {
	for _, s := range c.sides {
		p.emitLocked(s.user.ID, s.socket, kind, data)
	}
}

const (
	// saidMax bounds what waits for the store, beside Options.Account. Beyond
	// it a line is kept in the call alone, which only matters if the server dies.
	saidMax = 8192
	// saidAtOnce is how much of it one statement takes.
	saidAtOnce = 256
)

func (p *Platform) sayLocked(c *call, said Pending) {
	c.seq++
	said.RoomID, said.Seq = c.RoomID, c.seq
	if len(p.said) >= saidMax || p.reserve(said.cost()) != nil {
		p.stats.unsaved.Add(1)
		return
	}
	p.said = append(p.said, said)
}

// cost is about what it holds while it waits.
func (s Pending) cost() int64 {
	n := lineBytes + len(s.RoomID)
	if s.Chat != nil {
		n += len(s.Chat.Text)
	}
	if s.Socials != nil {
		for network, handle := range s.Socials.Socials {
			n += 48 + len(network) + len(handle)
		}
	}
	return int64(n)
}

// save writes what was said since the last time: usually one statement for all
// calls. What could not be written waits on, where it was.
func (p *Platform) save(ctx context.Context) error {
	p.mu.Lock()
	n := len(p.said)
	p.mu.Unlock()
	for n > 0 {
		p.mu.Lock()
		some := p.said[:min(n, saidAtOnce)]
		p.mu.Unlock()
		if err := p.store.AddChat(ctx, some, p.rules.ChatKept); err != nil {
			return err
		}
		p.forgetSaid(len(some))
		n -= len(some)
	}
	return nil
}

// forgetSaid lets go of the first n.
func (p *Platform) forgetSaid(n int) {
	var freed int64
	p.mu.Lock()
	for _, s := range p.said[:n] {
		freed += s.cost()
	}
	if p.said = slices.Delete(p.said, 0, n); len(p.said) == 0 {
		p.said = nil // one busy second does not keep its memory for ever
	}
	p.mu.Unlock()
	p.release(freed)
}
