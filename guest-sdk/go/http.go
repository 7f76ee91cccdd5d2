package dacapo

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	wit "dacapo/internal/bindings/dacapo_workflow_http"
	"dacapo/wittypes"
)

// Request is what [Fetch] sends, and how. What is left out is as usual.
type Request struct {
	// Method is GET, or POST with a body, if it is left out.
	Method string
	URL    string
	// Header values may hold a [Placeholder] of a secret.
	Header map[string]string
	Body   []byte
	// JSON is sent as the body, with its content type.
	JSON any
	// Timeout is for the request together with its response.
	Timeout time.Duration
	// Redirects says how many are followed: 10 if it is left out, none if it is below 0.
	Redirects int
	// ResponseMax says how long the response's body may be, in bytes.
	ResponseMax int64
	// IdempotencyHeader is the header in which the step's idempotency key is sent.
	IdempotencyHeader string
}

// Response is what a service has answered.
type Response struct {
	Status int
	// Headers are names, in lower case, and values.
	Headers [][2]string
	Body    []byte
}

// OK says whether the status is 200 to 299.
func (response *Response) OK() bool {
	return response.Status >= 200 && response.Status < 300
}

// Header is the first header with this name; "" if there is none.
func (response *Response) Header(name string) string {
	for _, header := range response.Headers {
		if header[0] == strings.ToLower(name) {
			return header[1]
		}
	}
	return ""
}

// JSON reads the body into what the pointer points to.
func (response *Response) JSON(into any) error {
	return json.Unmarshal(response.Body, into)
}

// Fetch sends a request, in a step, to a host that the manifest grants; it answers the response whatever its status.
//
// The error is a [*Failure] with the code "not-granted", "http-bad-request" or "http-too-large", or, worth another attempt,
// "http-unreachable" or "http-timeout".
func Fetch(request Request) (*Response, error) {
	header := maps.Clone(request.Header)
	body := request.Body
	if request.JSON != nil {
		text, failure := encode(request.JSON, "the body of a request")
		if failure != nil {
			return nil, failure
		}
		body = []byte(text)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(header)), func(name string) bool {
			return strings.EqualFold(name, "content-type")
		}) {
			if header == nil {
				header = make(map[string]string)
			}
			header["content-type"] = "application/json"
		}
	}
	sent := wit.Request{Method: request.Method, Url: request.URL, Body: wittypes.None[[]uint8]()}
	if body != nil {
		sent.Body = wittypes.Some(body)
	}
	if sent.Method == "" {
		sent.Method = "GET"
		if body != nil {
			sent.Method = "POST"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		sent.Headers = append(sent.Headers, wittypes.Tuple2[string, string]{F0: name, F1: header[name]})
	}
	fetched := wit.Fetch(sent, wittypes.Some(fetchOptions(request)))
	if fetched.IsErr() {
		return nil, fromWit(fetched.Err())
	}
	answered := fetched.Ok()
	response := &Response{Status: int(answered.Status), Body: answered.Body}
	for _, header := range answered.Headers {
		response.Headers = append(response.Headers, [2]string{header.F0, header.F1})
	}
	return response, nil
}

func fetchOptions(request Request) *wit.Options {
	options := wit.MakeOptions()
	if request.Timeout != 0 {
		options.SetTimeout(milliseconds(request.Timeout))
	}
	if request.Redirects != 0 {
		options.SetRedirects(uint32(max(0, request.Redirects)))
	}
	if request.ResponseMax > 0 {
		options.SetResponseMax(uint64(request.ResponseMax))
	}
	if request.IdempotencyHeader != "" {
		options.SetIdempotencyHeader(request.IdempotencyHeader)
	}
	return options
}
