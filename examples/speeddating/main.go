// Command speeddating is the platform: a web page, video calls, chat, and all
// six packages of the SDK behind them. It needs no set-up; see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bots"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "speeddating:", err)
			os.Exit(1)
		}
	}
}

// run serves until ctx ends, then drains and returns nil.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := parseConfig(args, getenv, stderr)
	if err != nil {
		return err
	}
	if cfg.backup != "" {
		return store.Backup(ctx, cfg.db, cfg.backup)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.logLevel}))
	app, err := newApp(ctx, cfg, log)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "listening on", app.URL())

	crowd := make(chan error, 1)
	crowdCtx, sendHome := context.WithCancel(ctx)
	defer sendHome()
	go func() {
		if cfg.bots == 0 {
			crowd <- nil
			return
		}
		crowd <- bots.Run(crowdCtx, bots.Options{BaseURL: app.URL(), N: cfg.bots, Logger: log})
	}()

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-app.Failed():
	}
	sendHome()
	<-crowd
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.drain+15*time.Second)
	defer cancel()
	return errors.Join(failed, app.Shutdown(stopCtx))
}
