package dacapo

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"dacapo/internal/bindings/dacapo_workflow_steps"
)

// encode writes a value as JSON; what names it if JSON cannot carry it.
func encode(value any, what string) (string, *Failure) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		at := ""
		if path, _, found := unfit(value); found && path != "" {
			at = fmt.Sprintf("at %s: ", path)
		}
		return "", Fatalf("%s cannot be recorded as JSON: %s%w", what, at, err).WithCode("encode")
	}
	// So it writes what is not UTF-8.
	if bytes.Contains(text.Bytes(), []byte("\ufffd")) || bytes.Contains(text.Bytes(), []byte(`\ufffd`)) {
		if path, isText, found := unfit(value); found && isText {
			return "", Fatalf("%s cannot be recorded as JSON: %s is not UTF-8; encode it with base64, or use strings.ToValidUTF8", what,
				cmp.Or(path, "the text")).WithCode("encode")
		}
	}
	return string(bytes.TrimSuffix(text.Bytes(), []byte("\n"))), nil
}

// decode reads what was recorded under a name. What the code cannot read blocks the run until code comes that can: guessing would be worse
// than waiting.
func decode[T any](name, what, text string) T {
	var value T
	if err := read([]byte(text), &value); err != nil {
		reject(name, what, err)
	}
	return value
}

func reject(name, what string, err error) {
	dacapo_workflow_steps.StepReject(name, fmt.Sprintf("%s does not fit the code's type: %v", what, err))
}

// read is [json.Unmarshal] that loses no digits: it takes integers of 64 bits from strings, too, which they are beyond 2^53 where they come
// from others, and puts integers beyond 2^53 into an any as a [json.Number].
func read(text []byte, into any) error {
	err := unmarshal(text, into)
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) || mismatch.Type == nil || !isWide(mismatch.Type) {
		return err
	}
	unquoted := unquote(text, reflect.TypeOf(into))
	if bytes.Equal(unquoted, text) {
		return err
	}
	return unmarshal(unquoted, into)
}

func unmarshal(text []byte, into any) error {
	if !hasLongInteger(text) {
		return json.Unmarshal(text, into)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	settleNumbers(reflect.ValueOf(into), make(map[visit]bool))
	return nil
}

// exact is up to where a float64 tells integers apart, either side of zero.
const exact = 1 << 53

// hasLongInteger says whether there are as many digits in a row as 2^53 has. They may stand in a string.
func hasLongInteger(text []byte) bool {
	digits := 0
	for _, char := range text {
		if char < '0' || char > '9' {
			digits = 0
		} else if digits++; digits == 16 {
			return true
		}
	}
	return false
}

// settleNumbers puts float64s where a type is any, as encoding/json has it, but for integers of which they would lose digits. What was there
// before the JSON was read may lead back to itself: seen are the pointers and maps that were looked into.
func settleNumbers(value reflect.Value, seen map[visit]bool) {
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() && isNew(value, seen) {
			settleNumbers(value.Elem(), seen)
		}
	case reflect.Interface:
		if value.CanSet() && !value.IsNil() {
			value.Set(reflect.ValueOf(settled(value.Interface(), seen)))
		}
	case reflect.Struct:
		for index := range value.NumField() {
			settleNumbers(value.Field(index), seen)
		}
	case reflect.Slice, reflect.Array:
		if isPlain(value.Type().Elem()) {
			return
		}
		for index := range value.Len() {
			settleNumbers(value.Index(index), seen)
		}
	case reflect.Map:
		if isPlain(value.Type().Elem()) || !value.CanInterface() || !isNew(value, seen) {
			return
		}
		for _, key := range value.MapKeys() {
			item := reflect.New(value.Type().Elem()).Elem()
			item.Set(value.MapIndex(key))
			settleNumbers(item, seen)
			value.SetMapIndex(key, item)
		}
	}
}

// visit is something that was looked into.
type visit struct {
	kind    reflect.Type
	pointer uintptr
}

// isNew says whether a pointer, a map or a slice was not looked into so far.
func isNew(value reflect.Value, seen map[visit]bool) bool {
	one := visit{value.Type(), value.Pointer()}
	if seen[one] {
		return false
	}
	seen[one] = true
	return true
}

// isPlain says that no any is in values of a type.
func isPlain(kind reflect.Type) bool {
	return kind.Kind() <= reflect.Complex128 || kind.Kind() == reflect.String
}

func settled(value any, seen map[visit]bool) any {
	switch value := value.(type) {
	case json.Number:
		float, err := value.Float64()
		if err != nil || !strings.ContainsAny(value.String(), ".eE") && math.Abs(float) >= exact && value.String() != "9007199254740992" {
			return value
		}
		return float
	case []any:
		if !isNew(reflect.ValueOf(value), seen) {
			return value
		}
		for index, item := range value {
			value[index] = settled(item, seen)
		}
	case map[string]any:
		if !isNew(reflect.ValueOf(value), seen) {
			return value
		}
		for name, item := range value {
			value[name] = settled(item, seen)
		}
	}
	return value
}

// isWide says whether a type is an integer of 64 bits.
func isWide(kind reflect.Type) bool {
	switch kind.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return true
	}
	return false
}

// unquote answers the JSON with numbers where the type has integers of 64 bits, and the text has strings of their digits.
func unquote(text json.RawMessage, kind reflect.Type) json.RawMessage {
	if reads[json.Unmarshaler](kind) || reads[encoding.TextUnmarshaler](kind) {
		return text
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return unquote(text, kind.Elem())
	case reflect.Slice, reflect.Array:
		var items []json.RawMessage
		if isPlain(kind.Elem()) && !isWide(kind.Elem()) || json.Unmarshal(text, &items) != nil || items == nil {
			return text
		}
		for index, item := range items {
			items[index] = unquote(item, kind.Elem())
		}
		return written(text, items)
	case reflect.Map:
		return unquoteMembers(text, func(string) reflect.Type { return kind.Elem() })
	case reflect.Struct:
		known := make(map[string]reflect.Type)
		fields(kind, known, nil)
		return unquoteMembers(text, func(name string) reflect.Type {
			if field, is := known[name]; is {
				return field
			}
			for other, field := range known {
				if strings.EqualFold(other, name) {
					return field
				}
			}
			return nil
		})
	}
	var digits string
	if isWide(kind) && json.Unmarshal(text, &digits) == nil && isDigits(digits, kind) {
		return json.RawMessage(digits)
	}
	return text
}

func reads[T any](kind reflect.Type) bool {
	return kind.Implements(reflect.TypeFor[T]()) || reflect.PointerTo(kind).Implements(reflect.TypeFor[T]())
}

func isDigits(text string, kind reflect.Type) bool {
	if signed, err := strconv.ParseInt(text, 10, 64); err == nil {
		return strconv.FormatInt(signed, 10) == text
	}
	unsigned, err := strconv.ParseUint(text, 10, 64)
	return err == nil && kind.Kind() >= reflect.Uint && strconv.FormatUint(unsigned, 10) == text
}

func unquoteMembers(text json.RawMessage, of func(name string) reflect.Type) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil || members == nil {
		return text
	}
	for name, member := range members {
		if kind := of(name); kind != nil {
			members[name] = unquote(member, kind)
		}
	}
	return written(text, members)
}

func written(before json.RawMessage, value any) json.RawMessage {
	after, err := json.Marshal(value)
	if err != nil {
		return before
	}
	return after
}

// fields notes a struct's fields, by their names in JSON, and those of what it embeds; within are the structs that embed it, which it may
// embed itself.
func fields(kind reflect.Type, known map[string]reflect.Type, within []reflect.Type) {
	within = append(within[:len(within):len(within)], kind)
	var embedded []reflect.Type
	for index := range kind.NumField() {
		field := kind.Field(index)
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
		case field.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			if !slices.Contains(within, inner) {
				embedded = append(embedded, inner)
			}
		case !field.IsExported() || slices.Contains(strings.Split(options, ","), "string"):
		case name != "":
			known[name] = field.Type
		default:
			known[field.Name] = field.Type
		}
	}
	for _, inner := range embedded {
		deeper := make(map[string]reflect.Type)
		fields(inner, deeper, within)
		for name, field := range deeper {
			if _, is := known[name]; !is {
				known[name] = field
			}
		}
	}
}
