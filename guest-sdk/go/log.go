package dacapo

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	wit "dacapo/internal/bindings/dacapo_workflow_log"
	"dacapo/wittypes"
)

// NewHandler makes a handler of log/slog that writes to the run's log what is at least of this level. The default logger has one for
// [slog.LevelInfo].
func NewHandler(level slog.Leveler) slog.Handler {
	return &handler{level: level}
}

// handler sends records to the run's log.
type handler struct {
	level  slog.Leveler
	fields []wittypes.Tuple2[string, string]
	prefix string
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *handler) Handle(_ context.Context, record slog.Record) error {
	fields := slices.Clone(h.fields)
	record.Attrs(func(attr slog.Attr) bool {
		fields = added(fields, h.prefix, attr)
		return true
	})
	wit.Log(levelOf(record.Level), record.Message, fields)
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	changed := *h
	changed.fields = slices.Clone(h.fields)
	for _, attr := range attrs {
		changed.fields = added(changed.fields, h.prefix, attr)
	}
	return &changed
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	changed := *h
	changed.prefix = h.prefix + name + "."
	return &changed
}

func added(fields []wittypes.Tuple2[string, string], prefix string, attr slog.Attr) []wittypes.Tuple2[string, string] {
	value := attr.Value.Resolve()
	if value.Kind() != slog.KindGroup {
		return append(fields, wittypes.Tuple2[string, string]{F0: prefix + attr.Key, F1: fmt.Sprint(value.Any())})
	}
	if attr.Key != "" {
		prefix += attr.Key + "."
	}
	for _, inner := range value.Group() {
		fields = added(fields, prefix, inner)
	}
	return fields
}

func levelOf(level slog.Level) wit.Level {
	switch {
	case level >= slog.LevelError:
		return wit.LevelError
	case level >= slog.LevelWarn:
		return wit.LevelWarn
	case level >= slog.LevelInfo:
		return wit.LevelInfo
	case level >= slog.LevelDebug:
		return wit.LevelDebug
	}
	return wit.LevelTrace
}
