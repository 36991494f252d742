#include "calc.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

struct parser {
    const char *at;
    const char *error;
};

static long sum(struct parser *parser);

static void skip_spaces(struct parser *parser) {
    while (isspace((unsigned char)*parser->at)) {
        parser->at++;
    }
}

static long fail(struct parser *parser, const char *error) {
    if (!parser->error) {
        parser->error = error;
    }
    return 0;
}

static long number(struct parser *parser) {
    char *end;
    long value;
    skip_spaces(parser);
    if (*parser->at == '(') {
        parser->at++;
        value = sum(parser);
        skip_spaces(parser);
        if (*parser->at != ')') {
            return fail(parser, "a parenthesis is not closed");
        }
        parser->at++;
        return value;
    }
    errno = 0;
    value = strtol(parser->at, &end, 10);
    if (end == parser->at) {
        return fail(parser, "a number is missing");
    }
    if (errno == ERANGE) {
        return fail(parser, "a number is too large");
    }
    parser->at = end;
    return value;
}

static long product(struct parser *parser) {
    long value = number(parser);
    for (;;) {
        skip_spaces(parser);
        if (*parser->at == '*') {
            parser->at++;
            value *= number(parser);
        } else if (*parser->at == '/') {
            long by;
            parser->at++;
            by = number(parser);
            if (by == 0) {
                return fail(parser, "division by zero");
            }
            value /= by;
        } else {
            return value;
        }
    }
}

static long sum(struct parser *parser) {
    long value = product(parser);
    for (;;) {
        skip_spaces(parser);
        if (*parser->at == '+') {
            parser->at++;
            value += product(parser);
        } else if (*parser->at == '-') {
            parser->at++;
            value -= product(parser);
        } else {
            return value;
        }
    }
}

const char *calc(const char *text, long *value) {
    struct parser parser = {text, NULL};
    *value = sum(&parser);
    if (!parser.error && *parser.at) {
        parser.error = "there is something after the end";
    }
    return parser.error;
}
