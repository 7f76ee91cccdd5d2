// Package wittypes has the types of WIT that Go has no word for, with their forms in JSON.
package wittypes

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Unit is what stands where WIT has no type.
type Unit struct{}

// Char is a character; in JSON a string of one.
type Char rune

// MarshalText writes the character.
func (char Char) MarshalText() ([]byte, error) {
	return []byte(string(rune(char))), nil
}

// UnmarshalText reads the character.
func (char *Char) UnmarshalText(text []byte) error {
	runes := []rune(string(text))
	if len(runes) != 1 {
		return fmt.Errorf("expected one character, got %q", text)
	}
	*char = Char(runes[0])
	return nil
}

// The tags of an Option and a Result.
const (
	OptionNone = 0
	OptionSome = 1
	ResultOk   = 0
	ResultErr  = 1
)

// Option is a value, or none. In the types of a project a pointer is one; this one is for options whose values may be null in JSON, too.
type Option[T any] struct {
	some  bool
	value T
}

// None is no value.
func None[T any]() Option[T] {
	return Option[T]{}
}

// Some is a value.
func Some[T any](value T) Option[T] {
	return Option[T]{some: true, value: value}
}

// Tag is OptionNone or OptionSome.
func (option Option[T]) Tag() uint8 {
	if option.some {
		return OptionSome
	}
	return OptionNone
}

// IsSome says whether there is a value.
func (option Option[T]) IsSome() bool {
	return option.some
}

// IsNone says whether there is none.
func (option Option[T]) IsNone() bool {
	return !option.some
}

// Some is the value; it panics if there is none.
func (option Option[T]) Some() T {
	if !option.some {
		panic("the option has no value")
	}
	return option.value
}

// SomeOr is the value, or another one if there is none.
func (option Option[T]) SomeOr(value T) T {
	if option.some {
		return option.value
	}
	return value
}

// MarshalJSON writes null, or an object with the member some.
func (option Option[T]) MarshalJSON() ([]byte, error) {
	if !option.some {
		return []byte("null"), nil
	}
	return json.Marshal(map[string]T{"some": option.value})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (option *Option[T]) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*option = None[T]()
		return nil
	}
	var read struct {
		Some json.RawMessage `json:"some"`
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	if read.Some == nil {
		return fmt.Errorf(`expected null or {"some": ..}, got %s`, text)
	}
	option.some = true
	return json.Unmarshal(read.Some, &option.value)
}

// Result is a value, or an error.
type Result[T, E any] struct {
	failed bool
	value  T
	err    E
}

// Ok is a value.
func Ok[T, E any](value T) Result[T, E] {
	return Result[T, E]{value: value}
}

// Err is an error.
func Err[T, E any](err E) Result[T, E] {
	return Result[T, E]{failed: true, err: err}
}

// Tag is ResultOk or ResultErr.
func (result Result[T, E]) Tag() uint8 {
	if result.failed {
		return ResultErr
	}
	return ResultOk
}

// IsOk says whether it is a value.
func (result Result[T, E]) IsOk() bool {
	return !result.failed
}

// IsErr says whether it is an error.
func (result Result[T, E]) IsErr() bool {
	return result.failed
}

// Ok is the value; it panics if it is an error.
func (result Result[T, E]) Ok() T {
	if result.failed {
		panic("the result is an error")
	}
	return result.value
}

// Err is the error; it panics if it is a value.
func (result Result[T, E]) Err() E {
	if !result.failed {
		panic("the result is no error")
	}
	return result.err
}

// MarshalJSON writes an object with the member ok or err.
func (result Result[T, E]) MarshalJSON() ([]byte, error) {
	if result.failed {
		return json.Marshal(map[string]any{"err": plain(result.err)})
	}
	return json.Marshal(map[string]any{"ok": plain(result.value)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (result *Result[T, E]) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	ok, isOk := members["ok"]
	problem, isErr := members["err"]
	if isOk == isErr {
		return fmt.Errorf(`expected {"ok": ..} or {"err": ..}, got %s`, text)
	}
	*result = Result[T, E]{failed: isErr}
	if isErr {
		return json.Unmarshal(problem, &result.err)
	}
	return json.Unmarshal(ok, &result.value)
}

// plain is null for what is no type.
func plain(value any) any {
	if _, is := value.(Unit); is {
		return nil
	}
	return value
}

// MarshalCase writes a case of a variant.
func MarshalCase(tag string, payload any) ([]byte, error) {
	return json.Marshal(struct {
		Tag string `json:"tag"`
		Val any    `json:"val"`
	}{tag, payload})
}

// MarshalBare writes a case of a variant that has no payload.
func MarshalBare(tag string) ([]byte, error) {
	return json.Marshal(map[string]string{"tag": tag})
}

// UnmarshalCase reads a case of a variant.
func UnmarshalCase(text []byte) (tag string, payload json.RawMessage, err error) {
	var read struct {
		Tag string          `json:"tag"`
		Val json.RawMessage `json:"val"`
	}
	err = json.Unmarshal(text, &read)
	if err == nil && read.Val == nil {
		read.Val = json.RawMessage("null")
	}
	return read.Tag, read.Val, err
}

// NoCase is the error, and the panic, of a variant of which no case is set.
func NoCase(variant string) error {
	return errors.New("none of the cases of " + variant + " is set")
}

// NotOneOf is the error for a name that is none of an enum, a variant or flags.
func NotOneOf(name, what string, names []string) error {
	return fmt.Errorf("%q is none of %s: %q", name, what, names)
}

// Index is the place of a name.
func Index(name []byte, what string, names []string) (int, error) {
	for index, known := range names {
		if known == string(name) {
			return index, nil
		}
	}
	return 0, NotOneOf(string(name), what, names)
}

// MarshalFlags writes the names of the bits that are set.
func MarshalFlags(bits uint32, names []string) ([]byte, error) {
	set := []string{}
	for index, name := range names {
		if bits&(1<<index) != 0 {
			set = append(set, name)
		}
	}
	return json.Marshal(set)
}

// UnmarshalFlags reads the names of the bits that are set.
func UnmarshalFlags(text []byte, what string, names []string) (uint32, error) {
	var set []string
	if err := json.Unmarshal(text, &set); err != nil {
		return 0, err
	}
	var bits uint32
	for _, name := range set {
		index, err := Index([]byte(name), what, names)
		if err != nil {
			return 0, err
		}
		bits |= 1 << index
	}
	return bits, nil
}

// Describe is a value as the text of an error.
func Describe(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
