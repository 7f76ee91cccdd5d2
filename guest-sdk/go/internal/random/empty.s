// With this file here functions may be declared without a body.
