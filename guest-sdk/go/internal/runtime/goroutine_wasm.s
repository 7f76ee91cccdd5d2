// func goroutine() uintptr
// It has no frame, and calls nothing (4 is NOSPLIT).
TEXT ·goroutine(SB), 4, $0-8
	MOVD g, ret+0(FP)
	RET
