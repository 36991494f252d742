/* A calculator for whole numbers: + - * / and parentheses. */
#ifndef CALC_H
#define CALC_H

/* Returns NULL and sets *value, or what is wrong with the text. */
const char *calc(const char *text, long *value);

#endif
