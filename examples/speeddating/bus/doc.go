// Package bus is dating.Bus: how the nodes of one platform reach each other.
// Memory is for one process (and, in tests, several nodes in it), Redis for
// many.
//
// # How Redis is used
//
// Every node has an inbox, a stream that it alone reads, and tells every other
// one which people it has. What is published to a person is put into the inboxes of
// the nodes that have them, and no other node gets a byte of it. Parcels of one
// node for another are numbered, wait at the sender until they are
// acknowledged, and are sent again if they are not: a parcel arrives once and in order
// also when Redis is killed and comes back empty. Those that belong together in
// time travel in one entry, so that a message costs less than one command.
//
// A node lives under a lease in Redis' own time and has a new name with each
// life (name.random). Who is absent from the list of the living while Redis
// answered all the time is dead, and so is at once who acknowledges nothing and
// has no connection any more. A node that was declared dead and is not begins
// anew, and so do its people.
//
// Claims are keys with a life. When Redis has lost its data every node says
// again what it holds; until that has settled nobody gets a new claim. All
// claims share one slot, so that two keys are taken in one step.
//
// # Memory
//
// In Memory, a node, a subscription and a claim are one map entry each, and at
// most 4096 messages wait between two nodes. In Redis, each node knows where
// everybody is, about 150 bytes a person, and at most RedisOptions.MaxQueueBytes
// wait for one other node. An inbox is trimmed once a second; it ends by itself
// a minute after its node. Claims that are over are forgotten when somebody asks for their
// key, and all at once when their number has doubled.
//
// # Concurrency
//
// All methods may be called by any goroutine. Memory owns none: a node's
// Handler runs on a publisher's, with no lock held, one message at a time for
// each sender; it may use the bus. A node of Redis owns three, one for each
// other node, and one for each request at work, and leave ends them; its
// handler runs on the reader's.
//
// # Overload
//
// While Redis is away messages wait, requests and claims fail after a second, and
// Ping says so. When what waits for a node is too much, all of it is thrown
// away, and that node's Handler.Missed is called: nothing is lost in silence.
// Stats counts all of it.
//
// # Errors
//
// dating.ErrNoNode, and what Redis or the context says.
package bus
