#define _DEFAULT_SOURCE /* for madvise */
#include "memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE_PAGE ((size_t)2 << 20)

void *allocate_table(size_t n_bytes)
{
#ifdef MADV_HUGEPAGE
    if (n_bytes >= LARGE_PAGE && n_bytes <= SIZE_MAX - LARGE_PAGE) {
        size_t size = (n_bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        void *table = aligned_alloc(LARGE_PAGE, size);
        if (!table)
            return NULL;
        madvise(table, size, MADV_HUGEPAGE); /* if it fails, pages stay small */
        return memset(table, 0, n_bytes);
    }
#endif
    return calloc(n_bytes ? n_bytes : 1, 1);
}
