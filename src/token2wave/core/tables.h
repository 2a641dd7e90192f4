/* A compiled network: what every row gives a text, and the small network that follows. The mathematics is
   that of inference/reference.py, which is the slow twin in the tests. */
#ifndef TOKEN2WAVE_TABLES_H
#define TOKEN2WAVE_TABLES_H

#include <stdatomic.h>

#include "layout.h"

typedef struct {
    network_shape shape;
    layout at;
    const float *rows;     /* (V, R), not ours; linear_svm, if there are, behind both variants */
    float *dense;          /* all other parameters */
    float *transposed;     /* weights as the way forward wants them, at the same places */
    /* What a row expands to through a linear map, E numbers: both variants (2 D) where they are linear, and
       those of the context branch (2 P). Rows are expanded when they are first met. */
    int64_t expansion;
    float *map, *map_bias; /* (wave width, E), (E,) */
    float *expanded;       /* (V, E) */
    atomic_uchar *state;   /* (V,) of each expanded row */
} tables;

/* Make tables of a shape from the rows, which must outlive them, and the dense part. Returns 0, or -1 where
   memory ran out; then free_tables must be called all the same. */
int make_tables(tables *t, network_shape shape, const float *rows, const float *dense);
void free_tables(tables *t);

/* Expand the rows that nobody has expanded yet. Several threads may do so at once.
   scratch: ROWS_EXPANDED * (R + E) floats. */
#define ROWS_EXPANDED 48
void expand_rows(const tables *t, const int32_t *ids, int64_t n, float *scratch);

/* Both variants of row `id` are at variants_of(t) + id * variants_stride(t), 2 D numbers. */
static inline const float *variants_of(const tables *t)
{
    return t->shape.linear_variants ? t->expanded : t->rows;
}

static inline int64_t variants_stride(const tables *t)
{
    return t->shape.linear_variants ? t->expansion : row_width(t->shape);
}

/* Those of the context branch are at context_variants_of(t) + id * expansion, 2 P numbers. */
static inline const float *context_variants_of(const tables *t)
{
    return t->expanded + (t->shape.linear_variants ? 2 * t->shape.width : 0);
}

#endif
