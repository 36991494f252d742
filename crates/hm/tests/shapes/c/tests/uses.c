#include <stdio.h>

#include "ring.h"

int main(void)
{
    struct ring *ring = ring_new(3);
    for (int value = 1; value <= 5; value++)
        ring_push(ring, value);
    int good = ring_at(ring, 0) == 5 && ring_at(ring, 2) == 3;
    ring_free(ring);
    puts(good ? "ok" : "wrong");
    return !good;
}
