#include "ring.h"

#include <stdlib.h>

struct ring {
    size_t size, next;
    int values[];
};

struct ring *ring_new(size_t size)
{
    struct ring *ring = calloc(1, sizeof *ring + size * sizeof(int));
    if (ring)
        ring->size = size;
    return ring;
}

void ring_free(struct ring *ring)
{
    free(ring);
}

void ring_push(struct ring *ring, int value)
{
    ring->values[ring->next] = value;
    ring->next = (ring->next + 1) % ring->size;
}

int ring_at(const struct ring *ring, size_t age)
{
    return ring->values[(ring->next + ring->size - 1 - age % ring->size) % ring->size];
}
