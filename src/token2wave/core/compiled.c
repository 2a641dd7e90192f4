#include "compiled.h"

#include <sched.h>
#include <stdlib.h>

#include "dense.h"

enum { ABSENT, CLAIMED, READY };
#define MAX_WAITS 10000

static void transpose_all(compiled_network *t)
{
    int64_t d = t->shape.width, p = t->shape.context_width, c = t->shape.n_classes, r = wave_width(t->shape);
    layout at = t->at;
    if (t->shape.restore == RESTORE_LINEAR)
        transpose(d, 2 * d, t->dense + at.restore, t->transposed + at.restore);
    transpose(c, d, t->dense + at.head, t->transposed + at.head);
    if (p) {
        transpose(p, 2 * p, t->dense + at.mix, t->transposed + at.mix);
        transpose(c, 2 * p, t->dense + at.context_head, t->transposed + at.context_head);
    }
    int64_t from_variants = t->shape.linear_variants ? 2 * d : 0;
    for (int64_t e = 0; e < t->expansion; e++) {
        int is_context = e >= from_variants;
        int64_t row = is_context ? e - from_variants : e;
        const float *weight = t->dense + (is_context ? at.context_variants : at.variants) + row * r;
        t->map_bias[e] = t->dense[(is_context ? at.context_variants_bias : at.variants_bias) + row];
        for (int64_t k = 0; k < r; k++)
            t->map[k * t->expansion + e] = weight[k];
    }
}

int compile_network(compiled_network *t, network_shape shape, const float *rows, const float *dense)
{
    *t = (compiled_network){.shape = shape, .at = layout_of(shape), .rows = rows};
    t->expansion = (shape.linear_variants ? 2 * shape.width : 0) + 2 * shape.context_width;
    size_t size = (size_t)t->at.size * sizeof(float), n = (size_t)shape.n_rows, e = (size_t)t->expansion;
    t->dense = malloc(size);
    t->transposed = malloc(size);
    if (!t->dense || !t->transposed)
        return -1;
    memcpy(t->dense, dense, size);
    if (e) {
        t->map = malloc((size_t)wave_width(shape) * e * sizeof(float));
        t->map_bias = malloc(e * sizeof(float));
        t->expanded = calloc(n, e * sizeof(float)); /* pages that no text needs stay unused */
        t->state = calloc(n, sizeof *t->state);
        if (!t->map || !t->map_bias || !t->expanded || !t->state)
            return -1;
    }
    transpose_all(t);
    return 0;
}

void free_network(compiled_network *t)
{
    free(t->dense);
    free(t->transposed);
    free(t->map);
    free(t->map_bias);
    free(t->expanded);
    free(t->state);
}

/* Expand rows that this thread has claimed. */
static void expand_claimed(const compiled_network *t, const int32_t *ids, int64_t n, float *scratch)
{
    int64_t r = wave_width(t->shape), stride = row_width(t->shape), e = t->expansion;
    float *values = scratch + ROWS_EXPANDED * r;
    for (int64_t i = 0; i < n; i++)
        memcpy(scratch + i * r, t->rows + ids[i] * stride, (size_t)r * sizeof *scratch);
    linear(n, e, r, scratch, t->map, t->map_bias, values);
    for (int64_t i = 0; i < n; i++) {
        memcpy(t->expanded + ids[i] * e, values + i * e, (size_t)e * sizeof *values);
        atomic_store_explicit(&t->state[ids[i]], READY, memory_order_release);
    }
}

void expand_rows(const compiled_network *t, const int32_t *ids, int64_t n, float *scratch)
{
    int32_t claimed[ROWS_EXPANDED];
    int64_t n_claimed = 0, n_awaited = 0;
    for (int64_t i = 0; i < n; i++) {
        unsigned char state = atomic_load_explicit(&t->state[ids[i]], memory_order_acquire);
        if (state == READY)
            continue;
        if (state == ABSENT && atomic_compare_exchange_strong(&t->state[ids[i]], &state, CLAIMED)) {
            claimed[n_claimed++] = ids[i];
            if (n_claimed == ROWS_EXPANDED) {
                expand_claimed(t, claimed, n_claimed, scratch);
                n_claimed = 0;
            }
        } else {
            n_awaited += state == CLAIMED;
        }
    }
    expand_claimed(t, claimed, n_claimed, scratch);
    for (int64_t i = 0; n_awaited && i < n; i++)
        for (int waits = 0; atomic_load_explicit(&t->state[ids[i]], memory_order_acquire) != READY; waits++) {
            sched_yield();
            if (waits == MAX_WAITS) /* its thread is gone, as after a fork: compute the same numbers again */
                expand_claimed(t, ids + i, 1, scratch);
        }
}
