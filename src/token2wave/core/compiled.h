/* A compiled network: what each row adds to the sums of a text, and the small network that follows. The slow
   twin is inference/reference.py. */
#pragma once

#include <stdatomic.h>

#include "layout.h"

typedef struct {
    network_shape shape;
    layout at;
    const float *rows;     /* (V, R), borrowed; weights of a linear SVM stand behind both variants */
    float *dense;          /* all other parameters */
    float *transposed;     /* weights transposed for the forward pass, at the same offsets */
    /* A linear map expands a row to E numbers: both variants (2 D) if they are linear, and those of the
       context branch (2 P). A row is expanded when it first occurs. */
    int64_t expansion;
    float *map, *map_bias; /* (wave width, E), (E,) */
    float *expanded;       /* (V, E) */
    atomic_uchar *state;   /* (V,) of each expanded row */
} compiled_network;

/* Compile a network of a shape from its rows, which must outlive it, and its dense part. Returns 0, or -1 if
   memory ran out; free_network must be called all the same. */
int compile_network(compiled_network *t, network_shape shape, const float *rows, const float *dense);
void free_network(compiled_network *t);

#define ROWS_EXPANDED 48 /* at once */

/* Expand the rows that are not expanded yet. Several threads may do so at the same time.
   scratch: ROWS_EXPANDED * (R + E) floats. */
void expand_rows(const compiled_network *t, const int32_t *ids, int64_t n, float *scratch);

/* Both variants of row `id` are at variants_of(t) + id * variants_stride(t), 2 D numbers. */
static inline const float *variants_of(const compiled_network *t)
{
    return t->shape.linear_variants ? t->expanded : t->rows;
}

static inline int64_t variants_stride(const compiled_network *t)
{
    return t->shape.linear_variants ? t->expansion : row_width(t->shape);
}

/* Those of the context branch are at context_variants_of(t) + id * expansion, 2 P numbers. */
static inline const float *context_variants_of(const compiled_network *t)
{
    return t->expanded + (t->shape.linear_variants ? 2 * t->shape.width : 0);
}
