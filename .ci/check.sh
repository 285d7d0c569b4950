#!/usr/bin/env bash
# The definition of green, besides the tests. CI, the Makefile and people all call this one script.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf -- '-- %s\n' "$*"; }
clean() { # clean NAME COMMAND...: the command may print nothing
	local name=$1 out
	shift
	say "$name"
	out=$("$@" 2>&1) || { printf '%s\n' "$out"; exit 1; }
	out=$(grep -v '^go: downloading' <<<"$out" || true) # a new machine's module cache is empty
	[ -z "$out" ] || { printf '%s: not clean\n%s\n' "$name" "$out"; exit 1; }
}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

clean "gofmt" gofmt -l .
say "go vet"
go vet ./...
clean "go fix" go fix -diff ./...
clean "go mod tidy" go mod tidy -diff
say "staticcheck"
go -C internal/tools build -o "$tools/staticcheck" honnef.co/go/tools/cmd/staticcheck
"$tools/staticcheck" ./...
say "32-bit build of the six packages"
GOOS=linux GOARCH=386 CGO_ENABLED=0 go vet ./lru/... ./connmgr/... ./memmgr/... ./compress/... ./presence/... ./signaling/...
say "other systems"
GOOS=darwin CGO_ENABLED=0 go build ./lru/... ./connmgr/... ./memmgr/... ./compress/... ./presence/... ./signaling/...
GOOS=windows CGO_ENABLED=0 go build ./lru/... ./connmgr/... ./memmgr/... ./compress/... ./presence/... ./signaling/...
say "every benchmark once"
go test -run '^$' -bench . -benchtime 1x -timeout 3m ./lru ./connmgr ./memmgr ./compress ./presence ./signaling >"$tools/bench.txt" || { cat "$tools/bench.txt"; exit 1; }
for module in internal/bench internal/tools; do
	clean "go mod tidy in $module" go -C "$module" mod tidy -diff
	[ "$module" = internal/tools ] || { say "go vet in $module"; go -C "$module" vet ./...; }
done
say "green"
