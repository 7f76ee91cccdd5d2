/* Texts, and JSON: made by a format like printf's, read in place. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dacapo.h"
#include "dacapo_inside.h"

/* ---- texts that grow */

typedef struct growing {
    char *text;
    size_t len;
    size_t room;
} growing;

static void add(growing *to, const char *text, size_t len) {
    if (to->room - to->len <= len) {
        to->room = 2 * to->room + len + 32;
        to->text = dacapo_or_die(realloc(to->text, to->room));
    }
    memcpy(to->text + to->len, text, len);
    to->len += len;
    to->text[to->len] = 0;
}

char *dacapo_vformat(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = dacapo_or_die(malloc(len < 0 ? 1 : (size_t)len + 1));
    text[0] = 0;
    if (len >= 0)
        vsnprintf(text, (size_t)len + 1, format, arguments);
    return text;
}

char *dacapo_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = dacapo_vformat(format, arguments);
    va_end(arguments);
    return text;
}

/* How many bytes of UTF-8 the next character has; 0 if it is none. */
static size_t character(const char *text, size_t left) {
    const unsigned char *at = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80 ? 1 : at[0] >> 5 == 0x6 ? 2 : at[0] >> 4 == 0xe ? 3 : at[0] >> 3 == 0x1e ? 4 : 0;
    if (len < 2)
        return len;
    if (len > left)
        return 0;
    uint32_t code = at[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (at[i] >> 6 != 0x2)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    return code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : len;
}

void dacapo_make_utf8(char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        size_t len = character(text, left);
        if (len == 0) {
            *text = '?';
            len = 1;
        }
        text += len;
        left -= len;
    }
}

/* ---- writing JSON */

static bool add_string(growing *to, const char *text, size_t len) {
    add(to, "\"", 1);
    while (len > 0) {
        size_t bytes = character(text, len);
        if (bytes == 0)
            return false;
        char escaped[8];
        if (*text == '"' || *text == '\\')
            add(to, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\%c", *text));
        else if ((unsigned char)*text < 0x20)
            add(to, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", *text));
        else
            add(to, text, bytes);
        text += bytes;
        len -= bytes;
    }
    add(to, "\"", 1);
    return true;
}

static bool add_double(growing *to, double number) {
    if (!isfinite(number))
        return false;
    char text[32];
    int digits = 15;
    do {
        snprintf(text, sizeof text, "%.*g", digits, number);
    } while (strtod(text, NULL) != number && ++digits <= 17);
    add(to, text, strlen(text));
    return true;
}

static void add_int(growing *to, intmax_t number) {
    char text[32];
    add(to, text, (size_t)snprintf(text, sizeof text, "%jd", number));
}

static void add_uint(growing *to, uintmax_t number) {
    char text[32];
    add(to, text, (size_t)snprintf(text, sizeof text, "%ju", number));
}

/* Writes what one conversion stands for; `*at` is behind its `%`, and is moved behind it. Answers whether JSON can carry the argument. */
static bool add_argument(growing *to, const char **at, va_list *arguments) {
    const char *conversion = *at;
    if (strncmp(conversion, ".*s", 3) == 0) {
        *at += 3;
        int len = va_arg(*arguments, int);
        const char *text = va_arg(*arguments, const char *);
        return add_string(to, text, text == NULL || len < 0 ? 0 : (size_t)len);
    }
    /* How many `l`s the type has; smaller ones are handed over as int. */
    int longs = 0;
    size_t skipped = strspn(conversion, "hlzjt");
    for (size_t i = 0; i < skipped; i++)
        longs += conversion[i] == 'l' ? 1 : conversion[i] == 'j' ? 2 : conversion[i] == 'h' ? 0 : 1;
    conversion += skipped;
    *at = conversion + 1;
    switch (*conversion) {
    case 's': {
        const char *text = va_arg(*arguments, const char *);
        if (text != NULL)
            return add_string(to, text, strlen(text));
        add(to, "null", 4);
        return true;
    }
    case 'p': {
        const char *json = va_arg(*arguments, const char *);
        if (json != NULL)
            add(to, json, strlen(json));
        return json != NULL;
    }
    case 'd':
    case 'i':
        add_int(to, longs == 0 ? va_arg(*arguments, int) : longs == 1 ? va_arg(*arguments, long) : va_arg(*arguments, long long));
        return true;
    case 'u':
        add_uint(to, longs == 0   ? va_arg(*arguments, unsigned)
                     : longs == 1 ? va_arg(*arguments, unsigned long)
                                  : va_arg(*arguments, unsigned long long));
        return true;
    case 'e':
    case 'f':
    case 'g':
        return add_double(to, va_arg(*arguments, double));
    case '%':
        add(to, "%", 1);
        return true;
    default:
        dacapo_die("dacapo_json takes %s, %.*s, %p, %d, %i, %u, %e, %f and %g, with h, l, ll, j, z or t, and no flags or widths");
    }
}

char *dacapo_json(const char *format, ...) {
    growing made = {0};
    va_list arguments;
    va_start(arguments, format);
    bool good = true;
    add(&made, "", 0);
    while (good && *format != 0) {
        size_t plain = strcspn(format, "%");
        add(&made, format, plain);
        format += plain;
        if (*format == '%') {
            format++;
            good = add_argument(&made, &format, &arguments);
        }
    }
    va_end(arguments);
    if (good)
        return made.text;
    free(made.text);
    return NULL;
}

/* ---- reading JSON */

static const char *blanks(const char *at) {
    return at + strspn(at, " \t\n\r");
}

/* Behind the string that begins here, or NULL. */
static const char *behind_string(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\\')
            at++;
        if (*at == 0)
            return NULL;
    }
    return at + 1;
}

/* Behind the value that begins here, or NULL. */
static const char *behind(const char *at) {
    if (*at == '"')
        return behind_string(at);
    if (*at != '{' && *at != '[') {
        size_t len = strcspn(at, ",]} \t\n\r");
        return len == 0 ? NULL : at + len;
    }
    size_t depth = 0;
    do {
        if (*at == '"') {
            at = behind_string(at);
            if (at == NULL)
                return NULL;
            continue;
        }
        if (*at == 0)
            return NULL;
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        at++;
    } while (depth > 0);
    return at;
}

/* Where the first item stands, or the first name; NULL if there is none. */
static const char *first(const char *json, char opening, char closing) {
    if (json == NULL)
        return NULL;
    json = blanks(json);
    if (*json != opening)
        return NULL;
    json = blanks(json + 1);
    return *json == closing ? NULL : json;
}

/* Where the next one stands, behind this value; NULL if there is none. */
static const char *next(const char *value) {
    const char *at = behind(value);
    if (at == NULL)
        return NULL;
    at = blanks(at);
    return *at == ',' ? blanks(at + 1) : NULL;
}

const char *dacapo_json_member(const char *json, const char *name) {
    const char *at = first(json, '{', '}');
    while (at != NULL && *at == '"') {
        const char *value = behind_string(at);
        value = value == NULL ? NULL : blanks(value);
        if (value == NULL || *value != ':')
            return NULL;
        value = blanks(value + 1);
        char *found = dacapo_json_string(at);
        bool same = found != NULL && strcmp(found, name) == 0;
        free(found);
        if (same)
            return value;
        at = next(value);
    }
    return NULL;
}

const char *dacapo_json_item(const char *json, size_t index) {
    const char *at = first(json, '[', ']');
    while (at != NULL && index-- > 0)
        at = next(at);
    return at;
}

size_t dacapo_json_len(const char *json) {
    size_t len = 0;
    for (const char *at = first(json, '[', ']'); at != NULL; at = next(at))
        len++;
    return len;
}

/* The four hexadecimal digits of `\uXXXX`, from behind the `u`. */
static bool hexadecimal(const char *at, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++) {
        char digit = at[i];
        uint32_t value;
        if (digit >= '0' && digit <= '9')
            value = (uint32_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            value = (uint32_t)(digit - 'a') + 10;
        else if (digit >= 'A' && digit <= 'F')
            value = (uint32_t)(digit - 'A') + 10;
        else
            return false;
        *code = *code << 4 | value;
    }
    return true;
}

/* Writes a character as UTF-8, and answers its bytes. */
static size_t put(char *to, uint32_t code) {
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    to[0] = (char)(0xf0u << (4 - len) | code);
    return len;
}

/* What the escape stands for whose backslash is behind us; moves behind it. False if it is none. */
static bool unescape(const char **at, uint32_t *code) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char kind = *(*at)++;
    if (kind != 'u') {
        const char *known = kind == 0 ? NULL : strchr(from, kind);
        *code = known == NULL ? 0 : (uint32_t)to[known - from];
        return known != NULL;
    }
    uint32_t low;
    if (!hexadecimal(*at, code) || *code == 0 || *code >> 10 == 0x37)
        return false;
    *at += 4;
    if (*code >> 10 != 0x36)
        return true;
    if ((*at)[0] != '\\' || (*at)[1] != 'u' || !hexadecimal(*at + 2, &low) || low >> 10 != 0x37)
        return false;
    *at += 6;
    *code = 0x10000 + ((*code & 0x3ff) << 10 | (low & 0x3ff));
    return true;
}

char *dacapo_json_string(const char *json) {
    if (json == NULL || *(json = blanks(json)) != '"')
        return NULL;
    const char *end = behind_string(json);
    if (end == NULL)
        return NULL;
    /* No escape is shorter than what it stands for. */
    char *text = dacapo_or_die(malloc((size_t)(end - json)));
    size_t len = 0;
    for (json++; json < end - 1;) {
        uint32_t code;
        if (*json != '\\') {
            text[len++] = *json++;
            continue;
        }
        json++;
        if (!unescape(&json, &code)) {
            free(text);
            return NULL;
        }
        len += put(text + len, code);
    }
    text[len] = 0;
    return text;
}

/* The whole number here, or in the string here: its first digit or sign, or NULL. */
static const char *whole(const char *json) {
    if (json == NULL)
        return NULL;
    json = blanks(json);
    bool quoted = *json == '"';
    json += quoted;
    const char *digits = json + (*json == '-');
    size_t len = strspn(digits, "0123456789");
    char behind = digits[len];
    bool ends = quoted ? behind == '"' : behind == 0 || strchr(",]} \t\n\r", behind) != NULL;
    return len > 0 && ends ? json : NULL;
}

bool dacapo_json_int(const char *json, int64_t *number) {
    const char *digits = whole(json);
    errno = 0;
    int64_t read = digits == NULL ? 0 : strtoll(digits, NULL, 10);
    if (digits == NULL || errno != 0)
        return false;
    *number = read;
    return true;
}

bool dacapo_json_uint(const char *json, uint64_t *number) {
    const char *digits = whole(json);
    errno = 0;
    uint64_t read = digits == NULL || *digits == '-' ? 0 : strtoull(digits, NULL, 10);
    if (digits == NULL || *digits == '-' || errno != 0)
        return false;
    *number = read;
    return true;
}

bool dacapo_json_double(const char *json, double *number) {
    if (json == NULL)
        return false;
    json = blanks(json);
    /* strtod knows more than JSON: `inf`, `0x10`. */
    size_t len = strspn(json, "+-.0123456789eE");
    char *end;
    double read = strtod(json, &end);
    if (len == 0 || end != json + len)
        return false;
    *number = read;
    return true;
}

bool dacapo_json_true(const char *json) {
    return json != NULL && strncmp(blanks(json), "true", 4) == 0;
}

bool dacapo_json_null(const char *json) {
    return json == NULL || strncmp(blanks(json), "null", 4) == 0;
}
