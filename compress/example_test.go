package compress_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
)

func ExampleCompressor_Handler() {
	c, err := compress.New(compress.Options{MaxEncoders: 2, MaxBufferedBytes: 32 << 20})
	if err != nil {
		panic(err)
	}
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, strings.Repeat("all aboard ", 1000))
	}))

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", "gzip, br;q=0.9")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Header().Get("Content-Encoding"), w.Header().Get("Vary"), w.Body.Len() < 110)
	// Output: gzip Accept-Encoding true
}

func ExampleDelta() {
	type Card struct {
		UserID string `json:"userId" delta:"key"`
		Name   string `json:"name"`
		Selfie string `json:"selfie" delta:"prefix=https://cdn.example.com/,suffix=.webp"`
	}
	d, err := compress.NewDelta[Card](compress.DeltaOptions{MaxBytes: 64 << 10})
	if err != nil {
		panic(err)
	}
	cards := []Card{{"u1", "Ana", "https://cdn.example.com/a1.webp"}, {"u2", "Ben", "https://cdn.example.com/b7.webp"}}
	d.Update(cards, 2)
	fmt.Printf("%s\n", d.Snapshot()) // to who joins now

	cards = append(cards[1:], Card{"u3", "Cleo", "https://cdn.example.com/c4.webp"})
	cards[0].Name = "Benjamin"
	frame, _ := d.Update(cards, 2)
	fmt.Printf("%s\n", frame) // to all, encoded once
	// Output:
	// ["S",1,[["userId","",""],["name","",""],["selfie","https://cdn.example.com/",".webp"]],[["u1","Ana","a1"],["u2","Ben","b7"]],2]
	// ["D",2,[1,1,["u3","Cleo","c4"]],[0,1,"Benjamin"]]
}

func ExampleJSONDelta() {
	d, err := compress.NewJSONDelta(compress.DeltaOptions{MaxBytes: 64 << 10})
	if err != nil {
		panic(err)
	}
	d.Update([]byte(`{"online":3,"people":[{"id":"a","busy":false},{"id":"b","busy":false}]}`))
	frame, _ := d.Update([]byte(`{"online":4,"people":[{"id":"a","busy":true},{"id":"b","busy":false}]}`))
	fmt.Printf("%s\n", frame)
	// Output: ["J",2,{"online":[4],"people":[0,{"0":{"busy":[true]}}]}]
}

func ExampleProjection() {
	type Presence struct {
		UserID string `json:"userId"`
		Online bool   `json:"online"`
		Addr   string `json:"addr" delta:"-"`
	}
	p, err := compress.NewProjection[Presence]()
	if err != nil {
		panic(err)
	}
	row, _ := p.Append(nil, &Presence{UserID: "u1", Online: true, Addr: "192.0.2.7"})
	fmt.Printf("%s %s\n", p.Columns(), row)
	// Output: [["userId","",""],"online"] ["u1",true]
}

func ExampleBatcher() {
	b, err := compress.NewBatcher(compress.BatcherOptions{MaxMessages: 3, MaxBytes: 16 << 10, MaxDelay: time.Second},
		func(batch []byte, messages int) { fmt.Println(messages, string(batch)) })
	if err != nil {
		panic(err)
	}
	for i := range 4 {
		b.Add(fmt.Appendf(nil, `{"n":%d}`, i))
	}
	b.Close()
	// Output:
	// 3 [{"n":0},{"n":1},{"n":2}]
	// 1 {"n":3}
}

func ExampleDeduplicator() {
	d, err := compress.NewDeduplicator(compress.DeduplicatorOptions{MaxKeys: 1000, MaxAge: time.Minute})
	if err != nil {
		panic(err)
	}
	fmt.Println(d.New("presence:u1", []byte("online")), d.New("presence:u1", []byte("online")), d.New("presence:u1", []byte("away")))
	// Output: true false true
}
