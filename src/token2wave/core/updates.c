#include "session.h"

/* Sum the gradients of all occurrences of a row over `vectors` times eight columns from column k, and take a
   step. */
#define UPDATE_COLUMNS(vectors)                                                                       \
    do {                                                                                              \
        v8 constant[vectors], factor[vectors];                                                        \
        for (int v = 0; v < vectors; v++)                                                             \
            constant[v] = factor[v] = ALL(0.0f);                                                      \
        if (of_context)                                                                               \
            for (int v = 0; v < vectors; v++)                                                         \
                constant[v] = READ(of_context + k + 8 * v);                                           \
        for (int64_t e = 0; e < n_texts; e++)                                                         \
            for (int v = 0; v < vectors; v++) {                                                       \
                constant[v] += READ(s->constant + texts[e] * r + k + 8 * v);                          \
                factor[v] += READ(s->factor + texts[e] * r + k + 8 * v);                              \
            }                                                                                         \
        for (int v = 0; v < vectors; v++) {                                                           \
            v8 weight = READ(row + k + 8 * v);                                                        \
            AT(row + k + 8 * v) = weight - own_rate * (constant[v] + factor[v] * weight);             \
        }                                                                                             \
    } while (0)

HOT void update_rows(session *s, int64_t part)
{
    owned_rows *own = &s->owned[part];
    int64_t r = row_width(s->shape), n = 2 * s->shape.context_width;
    float *gradient = s->scratch[part], *rows = gradient + ROWS_CHUNK * r, *d_values = rows + ROWS_CHUNK * r;
    float *gradients = s->gradients + part * s->at.size;
    float rate = s->training->row_rate * s->training->rate_factors[s->step];
    for (int64_t slot = 0; slot < own->n_slots; slot += ROWS_CHUNK) {
        int64_t end = slot + ROWS_CHUNK < own->n_slots ? slot + ROWS_CHUNK : own->n_slots;
        int64_t n_words = n ? (end < own->n_word_slots ? end : own->n_word_slots) - slot : 0;
        if (n_words > 0) {
            memset(d_values, 0, (size_t)(n_words * n) * sizeof(float));
            for (int64_t i = 0; i < n_words; i++) {
                for (int64_t e = own->starts[slot + i]; e < own->starts[slot + i + 1]; e++)
                    if (own->positions[e] >= 0)
                        for (int64_t k = 0; k < n; k += 8)
                            AT(d_values + i * n + k) +=
                                READ(s->context_gradients + own->positions[e] * n + k);
                memcpy(rows + i * r, s->state.embedding + own->rows[slot + i] * r, (size_t)r * sizeof(float));
            }
            linear_backward(n_words, n, r, d_values, rows, s->state.dense + s->at.context_variants, gradient,
                            gradients + s->at.context_variants, gradients + s->at.context_variants_bias);
        }
        for (int64_t i = slot; i < end; i++) {
            float *row = s->state.embedding + own->rows[i] * r;
            const float *of_context = i - slot < n_words ? gradient + (i - slot) * r : 0;
            const int32_t *texts = own->texts + own->starts[i];
            int64_t n_texts = own->starts[i + 1] - own->starts[i], k = 0;
            float own_rate = rate * s->training->row_rates[own->rows[i]];
            if (i + AHEAD < own->n_slots) {
                prefetch_row(s->state.embedding + own->rows[i + AHEAD] * r, r);
                PREFETCH(s->training->row_rates + own->rows[i + AHEAD]);
            }
            for (; k + 32 <= r; k += 32)
                UPDATE_COLUMNS(4);
            for (; k < r; k += 8)
                UPDATE_COLUMNS(1);
        }
    }
}

void update_dense(session *s, int64_t part)
{
    int64_t first = s->at.size * part / PARTS, last = s->at.size * (part + 1) / PARTS;
    float *sum = s->gradients;
    for (int64_t i = 1; i < PARTS; i++) {
        float *more = s->gradients + i * s->at.size;
        for (int64_t k = first; k < last; k++)
            sum[k] += more[k];
        memset(more + first, 0, (size_t)(last - first) * sizeof(float));
    }
    adam_settings settings = s->training->adam;
    settings.rate *= s->training->rate_factors[s->step];
    adam(first, last, s->state.dense, sum, s->state.mean, s->state.square,
         s->training->first_step + s->step + 1, settings);
    memset(sum + first, 0, (size_t)(last - first) * sizeof(float));
}

void transpose_weights(session *s, int64_t item)
{
    int64_t d = s->shape.width, p = s->shape.context_width, c = s->shape.n_classes;
    const struct {
        int64_t at, n, k;
    } weights[] = {{s->at.restore, d, 2 * d},
                   {s->at.head, c, d},
                   {s->at.context_variants, 2 * p, 2 * d},
                   {s->at.mix, p, 2 * p},
                   {s->at.context_head, c, 2 * p}};
    if (item < (p ? 5 : 2))
        transpose(weights[item].n, weights[item].k, s->state.dense + weights[item].at,
                  s->transposed + weights[item].at);
}
