#include "width.h"

#include <string.h>

int width(const char *text)
{
    return (int)strlen(text);
}
