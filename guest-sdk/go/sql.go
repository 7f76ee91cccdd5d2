package dacapo

import (
	"encoding/json"
	"math"
	"reflect"
	"time"

	wit "dacapo/internal/bindings/dacapo_workflow_sql"
)

// Row is a row that a statement has returned: the values by the names of their columns. They are nil, bool, int64, float64, string, []byte,
// [json.RawMessage] and [time.Time].
type Row map[string]any

// Query carries a statement out, in a step, and answers its rows: what it does is one transaction with the step's outcome. Parameters are
// $1, $2, …
//
// Maps, slices, structs and [json.RawMessage] are sent as jsonb, [time.Time] as timestamptz, a nil pointer as null.
//
// The error is a [*Failure] with the code "sql", "sql-statement", "sql-limit" or "sql-lost".
func Query(statement string, params ...any) ([]Row, error) {
	given, err := sqlValues(params)
	if err != nil {
		return nil, err
	}
	queried := wit.Query(statement, given)
	if queried.IsErr() {
		return nil, fromWit(queried.Err())
	}
	found := queried.Ok()
	rows := make([]Row, len(found.Rows))
	for index, values := range found.Rows {
		rows[index] = make(Row, len(values))
		for column, value := range values {
			rows[index][found.Columns[column]] = fromSQL(value)
		}
	}
	return rows, nil
}

// Execute is [Query], and answers how many rows the statement has touched.
func Execute(statement string, params ...any) (uint64, error) {
	given, err := sqlValues(params)
	if err != nil {
		return 0, err
	}
	executed := wit.Execute(statement, given)
	if executed.IsErr() {
		return 0, fromWit(executed.Err())
	}
	return executed.Ok(), nil
}

func sqlValues(params []any) ([]wit.Value, error) {
	values := make([]wit.Value, len(params))
	for index, param := range params {
		value, failure := toSQL(index+1, param)
		if failure != nil {
			return nil, failure
		}
		values[index] = value
	}
	return values, nil
}

func toSQL(number int, param any) (wit.Value, *Failure) {
	switch param := param.(type) {
	case nil:
		return wit.MakeValueNull(), nil
	case []byte:
		return wit.MakeValueBytes(param), nil
	case json.RawMessage:
		return wit.MakeValueJson(string(param)), nil
	case time.Time:
		return wit.MakeValueTimestamp(param.UnixMicro()), nil
	}
	value := reflect.ValueOf(param)
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			return wit.MakeValueNull(), nil
		}
		return toSQL(number, value.Elem().Interface())
	case reflect.Bool:
		return wit.MakeValueBoolean(value.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return wit.MakeValueInteger(value.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if value.Uint() > math.MaxInt64 {
			return wit.Value{}, Fatalf("parameter $%d is %d, more than bigint holds; send it as text and cast it there", number, value.Uint())
		}
		return wit.MakeValueInteger(int64(value.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return wit.MakeValueFloat(value.Float()), nil
	case reflect.String:
		return wit.MakeValueText(value.String()), nil
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Struct:
		text, failure := encode(param, "a parameter of a statement")
		return wit.MakeValueJson(text), failure
	}
	return wit.Value{}, Fatalf("parameter $%d is a %T, which is no value for SQL; turn it into text and cast it there", number, param)
}

func fromSQL(value wit.Value) any {
	switch value.Tag() {
	case wit.ValueBoolean:
		return value.Boolean()
	case wit.ValueInteger:
		return value.Integer()
	case wit.ValueFloat:
		return value.Float()
	case wit.ValueText:
		return value.Text()
	case wit.ValueBytes:
		return value.Bytes()
	case wit.ValueJson:
		return json.RawMessage(value.Json())
	case wit.ValueTimestamp:
		return time.UnixMicro(value.Timestamp()).UTC()
	}
	return nil
}
