.PHONY: run test race check ci bench

run: ## the platform with ten simulated people, on http://localhost:8080
	go run ./examples/speeddating -bots 10

test: ## every test, two packages at a time; budgets and attackers without the race detector, which would be measured instead
	go test -race -run '^$$' ./... >/dev/null
	go test -run 'Budget|MemoryInFlight|Allocations|IdleMemory|ArchiveKill' ./lru ./compress ./presence ./signaling ./connmgr ./memmgr
	go test -timeout 15m ./examples/speeddating/hostile
	go test -race -shuffle=on -p 2 -timeout 20m $$(go list ./... | grep -v /hostile$$)

check: ## formatting, vet, staticcheck, tidy modules, other systems
	bash .ci/check.sh

ci: ## what CI runs: installs what is missing, then check and test
	bash .ci/run

bench: ## our own benchmarks; the comparison with peers is in internal/bench
	go test -run '^$$' -bench . ./lru ./connmgr ./memmgr ./compress ./presence ./signaling
