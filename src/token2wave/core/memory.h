/* Memory for tables whose entries are read in no order. */
#pragma once

#include <stddef.h>

/* Zeroed memory, which free() releases; NULL if there is none. A large table lies in large pages where the
   system has them, so that the processor finds its entries without reading page tables. */
void *allocate_table(size_t n_bytes);
