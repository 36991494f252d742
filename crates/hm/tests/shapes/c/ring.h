#ifndef RING_H
#define RING_H
#include <stddef.h>

struct ring;
struct ring *ring_new(size_t size);
void ring_free(struct ring *ring);
/* Puts a value in; the oldest goes where there is no space. */
void ring_push(struct ring *ring, int value);
/* The value that was put in so many pushes ago; 0 is the newest. */
int ring_at(const struct ring *ring, size_t age);
#endif
