package compress

// In text, what comes next depends on what was last: the literals of a long one
// have a prefix code of their own after a digit, which is mostly in a number or
// in the hexadecimal of a key, after a small letter, and after a space. A letter
// with a digit or a capital before it counts as a digit: it may be of a key.
//
// RFC 7932, section 7.1, calls these the contexts of the UTF8 mode, and has 64.
const (
	afterOther = iota
	afterDigit
	afterLetter
	afterSpace
	literalContexts
)

// Blocks with so many literals have these codes: few would not be worth what the
// codes take, and of more the symbols would not fit.
const (
	minContextLiterals = 2 << 10
	maxContextLiterals = 24 << 10
)

// literalsInContext are the literals of a block as symbols, context<<8 | byte.
type literalsInContext struct {
	symbols [maxContextLiterals]uint16
	counted int // of symbols
	counts  [literalContexts << 8]uint32
	codes   [literalContexts << 8]uint32
}

// contextKinds are of the byte before, and 4 more of digits and capitals, with
// which the RFC counts the first bytes of long runes.
var contextKinds = func() (kinds [256]uint8) {
	for c := range kinds {
		switch {
		case c >= '0' && c <= '9':
			kinds[c] = afterDigit | 4
		case c >= 'A' && c <= 'Z' || c >= 224:
			kinds[c] = 4
		case c >= 'a' && c <= 'z':
			kinds[c] = afterLetter
		case c == ' ':
			kinds[c] = afterSpace
		}
	}
	return kinds
}()

// contextOf is for the kind of the byte before and the 4 of the one before that.
var contextOf = [8]uint8{afterOther, afterDigit, afterLetter, afterSpace, afterOther, afterDigit, afterDigit, afterSpace}

// literalContext is the context of what follows bytes of these kinds.
func literalContext(two, one uint8) uint8 { return contextOf[(one&3|two&4)&7] }

// inContext reports whether the literals of the commands are to have codes by
// context: if they are many, of a text, all of which is in one buffer.
func (e *blockEncoder) inContext() bool {
	if e.find.words == nil || !e.find.short {
		return false
	}
	n := 0
	for _, c := range e.commands {
		n += int(c.insert)
	}
	return n >= minContextLiterals && n <= maxContextLiterals
}

// add takes n literals of buf from at on. Inlined it is slower: the loop needs
// the registers.
//
//go:noinline
func (l *literalsInContext) add(buf []byte, at, n int) {
	var two, one uint8 // kinds of the bytes before
	if at >= 2 {
		two, one = contextKinds[buf[at-2]], contextKinds[buf[at-1]]
	} else if at == 1 {
		one = contextKinds[buf[0]]
	}
	symbols := l.symbols[l.counted:][:n]
	l.counted += n
	for i, c := range buf[at : at+n] {
		sym := uint16(literalContext(two, one))<<8 | uint16(c)
		symbols[i] = sym
		l.counts[sym&(literalContexts<<8-1)]++
		two, one = one, contextKinds[c]
	}
}

// contextBits are the codes of the contexts in their map: so many bits, which.
var contextBits = [literalContexts][2]uint8{afterOther: {1, 0}, afterDigit: {2, 1}, afterLetter: {3, 3}, afterSpace: {3, 7}}

// storeContexts writes which context has which code, RFC 7932, section 7.3, and
// these codes.
func (e *blockEncoder) storeContexts(w *bitWriter) (size int) {
	w.write(9, 0) // one block type of each kind, plain distances
	w.write(2, 2) // the UTF8 mode
	w.write(5, 1|(literalContexts-1)>>1<<1|(literalContexts-1)&1<<4)
	w.write(1, 0) // no runs in the map
	w.write(4, 1|(literalContexts-1)<<2)
	w.write(9, afterOther|afterDigit<<2|afterLetter<<4|afterSpace<<6|1<<8)
	for id := range 64 {
		context := afterOther
		switch last := id >> 2; {
		case last == 2:
			context = afterSpace
		case last == 11 || last >= 14 && id&3 == 2:
			context = afterDigit
		case last >= 14:
			context = afterLetter
		}
		w.write(uint(contextBits[context][0]), uint64(contextBits[context][1]))
	}
	w.write(1, 0) // the map is as it is
	w.write(1, 0) // one code for distances
	for context := range literalContexts {
		first, past := context<<8, (context+1)<<8
		size += e.literal.store(w, &e.prefix, e.context.counts[first:past], literalBits)
		copy(e.context.codes[first:past], e.literal.codes[:256])
	}
	e.context.counted = 0
	return size
}

// inContext appends the codes of n literals, the symbols from at on, as literals
// does.
//
//go:noinline
func (r bitRun) inContext(l *literalsInContext, at, n int) bitRun {
	if n <= 4 && at+4 <= len(l.symbols) {
		p, left := (*[4]uint16)(l.symbols[at:]), int32(-n)
		return r.add(l.codes[p[0]&1023] & uint32(left>>31)).
			add(l.codes[p[1]&1023] & uint32((left+1)>>31)).
			add(l.codes[p[2]&1023] & uint32((left+2)>>31)).
			add(l.codes[p[3]&1023] & uint32((left+3)>>31)).flush()
	}
	for _, sym := range l.symbols[at : at+n] {
		r = r.add(l.codes[sym&1023]).flush()
	}
	return r
}
