#include <stdio.h>

#include "width.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%d\n", width(argv[i]));
    return 0;
}
