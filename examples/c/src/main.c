#include "calc.h"

#include <stdio.h>

int main(int argc, char **argv) {
    int i;
    for (i = 1; i < argc; i++) {
        long value;
        const char *error = calc(argv[i], &value);
        if (error) {
            fprintf(stderr, "%s: %s\n", argv[i], error);
            return 1;
        }
        printf("%ld\n", value);
    }
    return 0;
}
