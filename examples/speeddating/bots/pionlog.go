package bots

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog passes on what pion warns of, at Debug: a person who closes a tab in
// the middle of a call is no trouble here. By itself pion writes to standard
// output.
type pionLog struct{ log *slog.Logger }

func (l pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{l.log.With(slog.String("scope", scope))}
}

func (pionLog) Trace(string)          {}
func (pionLog) Tracef(string, ...any) {}
func (pionLog) Debug(string)          {}
func (pionLog) Debugf(string, ...any) {}
func (pionLog) Info(string)           {}
func (pionLog) Infof(string, ...any)  {}

func (l pionLog) Warn(msg string)           { l.log.Debug("bots: pion", slog.String("warning", msg)) }
func (l pionLog) Warnf(f string, a ...any)  { l.Warn(fmt.Sprintf(f, a...)) }
func (l pionLog) Error(msg string)          { l.log.Debug("bots: pion", slog.String("error", msg)) }
func (l pionLog) Errorf(f string, a ...any) { l.Error(fmt.Sprintf(f, a...)) }
