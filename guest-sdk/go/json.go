package dacapo

import (
	"bytes"
	"encoding/json"
	"fmt"

	"dacapo/internal/bindings/dacapo_workflow_steps"
)

// encode writes a value as JSON; what names it if JSON cannot carry it.
func encode(value any, what string) (string, *Failure) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", Fatalf("%s cannot be recorded as JSON: %w", what, err).WithCode("encode")
	}
	return string(bytes.TrimSuffix(text.Bytes(), []byte("\n"))), nil
}

// decode reads what was recorded under a name. What the code cannot read blocks the run until code comes that can: guessing would be worse
// than waiting.
func decode[T any](name, what, text string) T {
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		reject(name, what, err)
	}
	return value
}

func reject(name, what string, err error) {
	dacapo_workflow_steps.StepReject(name, fmt.Sprintf("%s does not fit the code's type: %v", what, err))
}
