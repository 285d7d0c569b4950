package signaling

import "slices"

// bundle is several messages that many peers get one after another: what was
// broadcast within a tick. Queues hold a frame that stands for them all, so
// that a burst costs each peer one pointer, and one step of everything that is
// done for a message. It is taken apart again where it has to be: when it does
// not fit into a queue as a whole, and when a client comes back that has a part
// of it.
type bundle struct {
	parts []*Frame
	bytes int // of the parts
}

// pack returns frames with bundles, held once, of up to most bytes in place of
// neighbours. What may be dropped or replaced by itself stays by itself. The
// caller holds frames.
func pack(frames []*Frame, most int) []*Frame {
	var packed []*Frame
	for len(frames) > 0 {
		first := frames[0]
		n, size := 1, first.Len()
		for !first.droppable && n < len(frames) && !frames[n].droppable && frames[n].class == first.class && size+frames[n].Len() <= most {
			size += frames[n].Len()
			n++
		}
		if n > 1 {
			first = &Frame{class: first.class, bundle: &bundle{parts: slices.Clone(frames[:n]), bytes: size}}
			first.refs.Store(1)
			for _, f := range frames[:n] {
				f.refs.Add(1)
			}
		}
		packed = append(packed, first)
		frames = frames[n:]
	}
	return packed
}

// drop lets the parts go when nobody holds the bundle any more.
func (b *bundle) drop(h *Hub) (freed int64) {
	for _, f := range b.parts {
		freed += f.drop(h)
	}
	return freed
}

// flat returns the messages that frames stand for.
func flat(frames []*Frame) []*Frame {
	var all []*Frame
	for _, f := range frames {
		if f.bundle != nil {
			all = append(all, f.bundle.parts...)
		} else {
			all = append(all, f)
		}
	}
	return all
}

// count is how many messages frames stand for.
func (o *outbox) count(frames []*Frame) int {
	n := len(frames)
	if o.bundled {
		for _, f := range frames {
			if f.bundle != nil {
				n += len(f.bundle.parts) - 1
			}
		}
	}
	return n
}

// unpack puts the parts of the bundle frames[i] in its place.
func (o *outbox) unpack(h *Hub, i int) {
	f := o.frames[i]
	parts := f.bundle.parts
	for _, part := range parts {
		part.refs.Add(1) // the bundle holds them until here
	}
	more := len(parts) - 1
	o.grow(more)
	o.frames = slices.Replace(o.frames, i, i+1, parts...)
	if i < int(o.fixed) {
		o.fixed += int32(more)
	}
	f.drop(h)
}
