package compress

import (
	"net/http"
)

// Handler returns a handler that answers as next does, encoded where client
// and response allow it. It must see the request before other middleware
// that looks at body bytes, and after that which recovers from panics.
func (c *Compressor) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, next, "")
	})
}

func (c *Compressor) serve(w http.ResponseWriter, r *http.Request, next http.Handler, dictionaryFor string) {
	if r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0 && anyListed(r.Header["Connection"], "upgrade") {
		next.ServeHTTP(w, r) // another protocol begins
		return
	}
	a := parseAccept(r.Header["Accept-Encoding"])
	if a.refusesIdentity() && a.best(c.prefer) == identity {
		c.notAcceptable(w, r)
		return
	}
	rw := c.writers.Get().(*response)
	rw.begin(w, r, a)
	if dictionaryFor != "" && c.dicts != nil {
		rw.offerDictionary(dictionaryFor)
	}
	finished := false
	defer func() {
		if !finished { // a panic: what is not sent yet never was
			rw.abandon()
		}
	}()
	next.ServeHTTP(rw, withPlainTags(r))
	rw.finish()
	finished = true
	rw.reset()
	c.writers.Put(rw)
}

// notAcceptable answers a client that takes nothing that c can send.
func (c *Compressor) notAcceptable(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	var a valueArena
	a.addVary(h, "Accept-Encoding")
	for _, cd := range c.prefer {
		h.Add("Accept-Encoding", cd.String())
	}
	c.count.notAcceptable.Add(1)
	c.opts.Refuse(w, r, http.StatusNotAcceptable, "none of the accepted content codings is offered")
}
