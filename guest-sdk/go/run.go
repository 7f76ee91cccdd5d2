package dacapo

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	random "math/rand/v2"
	"time"

	wit "dacapo/internal/bindings/dacapo_workflow_context"
	"dacapo/wittypes"
)

// RunID is the run's id, a UUID.
func RunID() string {
	return wit.RunId()
}

// Workflow is the full name of the workflow: "ns:pkg/interface.function".
func Workflow() string {
	return wit.Workflow()
}

// CreatedAt is when the run was started.
func CreatedAt() time.Time {
	return at(wit.CreatedAt())
}

// Now is the time by the journal; in a step the real one. [time.Now] says the same.
func Now() time.Time {
	return at(wit.Now())
}

// Labels are the run's labels.
func Labels() map[string]string {
	labels := make(map[string]string)
	for _, label := range wit.Labels() {
		labels[label.F0] = label.F1
	}
	return labels
}

// Changed says, for code that was changed while runs of it are in flight, whether this run takes the new way.
func Changed(name string) bool {
	ownGoroutine(fmt.Sprintf("Changed(%q)", name))
	return wit.Changed(name)
}

// SetProgress says how far the run is, for whoever looks at it. It may be said often; the note may be empty.
func SetProgress(done, total uint64, note string) {
	said := wittypes.None[string]()
	if note != "" {
		said = wittypes.Some(note)
	}
	wit.SetProgress(done, total, said)
}

// Random is a generator that says the same in each replay outside of steps, and is real in them, as crypto/rand is. The functions of
// math/rand are neither: steps that ran draw from them, steps whose outcome is handed back do not. So does the order of maps.
func Random() *random.Rand {
	return generator
}

var generator = random.New(host{})

// host draws from the host.
type host struct{}

func (host) Uint64() uint64 {
	var bytes [8]byte
	// It never fails.
	_, _ = rand.Read(bytes[:])
	return binary.LittleEndian.Uint64(bytes[:])
}

func at(ms uint64) time.Time {
	return time.UnixMilli(int64(ms)).UTC()
}
