module tour

go 1.24

require (
	dacapo v0.0.0
	landmarks v1.0.0
)

replace (
	// Written by `dacapo build`.
	dacapo => ./.dacapo/guest-sdk/go
	landmarks => ./landmarks
)
