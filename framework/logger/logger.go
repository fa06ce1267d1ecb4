// Package logger writes a service's log: one line an entry, to stderr, where
// the platform collects it. MICRO_LOG_LEVEL is debug, info (the default), warn
// or error.
package logger

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"
)

// Default is the logger behind the functions of this package, for those who
// would rather write attributes than sentences.
func Default() *slog.Logger { return fromEnvironment() }

var fromEnvironment = sync.OnceValue(func() *slog.Logger {
	var level slog.Level // info
	err := level.UnmarshalText([]byte(os.Getenv("MICRO_LOG_LEVEL")))
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err != nil && os.Getenv("MICRO_LOG_LEVEL") != "" {
		log.Warn("MICRO_LOG_LEVEL is debug, info, warn or error; taking info", "level", os.Getenv("MICRO_LOG_LEVEL"))
	}
	return log
})

// Debug logs what helps to find a fault.
func Debug(args ...any) { write(slog.LevelDebug, fmt.Sprint(args...)) }

// Debugf is Debug with a format.
func Debugf(format string, args ...any) { write(slog.LevelDebug, fmt.Sprintf(format, args...)) }

// Info logs what happened.
func Info(args ...any) { write(slog.LevelInfo, fmt.Sprint(args...)) }

// Infof is Info with a format.
func Infof(format string, args ...any) { write(slog.LevelInfo, fmt.Sprintf(format, args...)) }

// Warn logs what somebody should look at.
func Warn(args ...any) { write(slog.LevelWarn, fmt.Sprint(args...)) }

// Warnf is Warn with a format.
func Warnf(format string, args ...any) { write(slog.LevelWarn, fmt.Sprintf(format, args...)) }

// Error logs what went wrong.
func Error(args ...any) { write(slog.LevelError, fmt.Sprint(args...)) }

// Errorf is Error with a format.
func Errorf(format string, args ...any) { write(slog.LevelError, fmt.Sprintf(format, args...)) }

// Fatal logs why the process cannot go on, and ends it with exit code 1.
func Fatal(args ...any) {
	write(slog.LevelError, fmt.Sprint(args...))
	os.Exit(1)
}

// Fatalf is Fatal with a format.
func Fatalf(format string, args ...any) {
	write(slog.LevelError, fmt.Sprintf(format, args...))
	os.Exit(1)
}

// write hands the entry over with the caller's place in the source, not ours.
func write(level slog.Level, text string) {
	ctx, log := context.Background(), Default()
	if !log.Enabled(ctx, level) {
		return
	}
	var pc [1]uintptr
	runtime.Callers(3, pc[:]) // Callers, write, the function of this package
	_ = log.Handler().Handle(ctx, slog.NewRecord(time.Now(), level, text, pc[0]))
}
