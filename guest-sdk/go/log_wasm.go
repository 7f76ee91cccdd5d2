package dacapo

import "log/slog"

// What log/slog and log write goes to the run's log.
func init() {
	slog.SetDefault(slog.New(NewHandler(slog.LevelInfo)))
}
