package lru

// watch is one load or Compute of a key that is under way, in the key's
// shard and guarded by its lock. Whoever writes the key meanwhile supersedes
// it: what it was about to store is out of date then.
type watch[K comparable, V any] struct {
	next       *watch[K, V] // of the same key
	superseded bool

	call *call[K, V] // nil for a Compute
	key  K
	// What call loaded, set before call.done is closed.
	value V
	err   error
}

// watch registers w for key. Writers in place see it before the caller reads
// the value.
func (s *shard[K, V]) watch(key K, w *watch[K, V]) {
	if s.watches == nil {
		s.watches = make(map[K]*watch[K, V])
	}
	s.watching.Add(1)
	w.key = key
	w.next = s.watches[key]
	s.watches[key] = w
}

func (s *shard[K, V]) unwatch(w *watch[K, V]) {
	s.watching.Add(-1)
	at := s.watches[w.key]
	if at == w {
		if w.next == nil {
			delete(s.watches, w.key)
			if len(s.watches) == 0 {
				s.watches = nil // a map keeps the room of its largest size
			}
		} else {
			s.watches[w.key] = w.next
		}
		return
	}
	for at.next != w {
		at = at.next
	}
	at.next = w.next
}

// supersede marks all watches of key, except the writer's own.
func (s *shard[K, V]) supersede(key K, by *watch[K, V]) {
	if len(s.watches) == 0 {
		return
	}
	for w := s.watches[key]; w != nil; w = w.next {
		if w != by {
			w.superseded = true
		}
	}
}

func (s *shard[K, V]) supersedeAll() {
	for _, w := range s.watches {
		for ; w != nil; w = w.next {
			w.superseded = true
		}
	}
}
