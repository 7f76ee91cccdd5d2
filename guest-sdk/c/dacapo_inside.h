/* What the kit's own files share. */
#ifndef DACAPO_INSIDE_H
#define DACAPO_INSIDE_H

/* Ends a step's attempt, or, outside of steps, the run, with this message. */
_Noreturn void dacapo_die(const char *message);

/* The memory, or none of what follows. */
static inline void *dacapo_or_die(void *memory) {
    if (memory == NULL)
        dacapo_die("there is no memory left");
    return memory;
}

/* Puts `?` for whatever is no UTF-8. */
void dacapo_make_utf8(char *text);

#endif
