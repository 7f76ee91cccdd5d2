module freight

go 1.24

require dacapo v0.0.0

// Written by `dacapo build`.
replace dacapo => ./.dacapo/guest-sdk/go
