package main

import (
	"log/slog"
	"os"
)

// spared is what the kernel is told when it looks for somebody to kill because
// memory has run out: rather a container, which has 0.
const spared = "-500"

// spare makes this process, and those it starts, among the last to be killed.
// Only root may.
func spare(log *slog.Logger) {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(spared), 0); err != nil {
		log.Debug("the kernel was not asked to spare this process when memory runs out", "error", err)
	}
}
