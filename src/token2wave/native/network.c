#include "network.h"

#include <math.h>
#include <stdlib.h>

#include "threads.h"

/* Work is cut into as many parts as this whatever the number of threads, and sums are taken in the order
   of the parts: so the result does not depend on the number of threads. */
#define PARTS 8
#define TEXTS_IN_PREDICTION 128
#define FEATURES_IN_PREDICTION 65536
#define TOKENS_AT_ONCE 128 /* of one part's texts, so that their states stay in the cache */
#define ROWS_AT_ONCE 48
#define AHEAD 8 /* rows lie anywhere in memory: they are asked for so many rows before they are needed */

/* Where each parameter stands in the dense part; those of the phrase level are absent without one. */
typedef struct {
    int64_t restore, restore_bias, norm, norm_bias, head, head_bias;
    int64_t variants, variants_bias, phrase_norm, phrase_norm_bias, mix, mix_bias, phrase_head,
        phrase_head_bias;
    int64_t size;
} layout;

static layout layout_of(network_shape shape)
{
    int64_t d = shape.width, p = shape.phrase_width, c = shape.n_classes, at = 0;
    layout l = {0};
#define TAKE(name, count) l.name = at, at += (count)
    TAKE(restore, 2 * d * d);
    TAKE(restore_bias, d);
    TAKE(norm, d);
    TAKE(norm_bias, d);
    TAKE(head, c * d);
    TAKE(head_bias, c);
    if (p) {
        TAKE(variants, 2 * p * 2 * d);
        TAKE(variants_bias, 2 * p);
        TAKE(phrase_norm, 2 * p);
        TAKE(phrase_norm_bias, 2 * p);
        TAKE(mix, 2 * p * p);
        TAKE(mix_bias, p);
        TAKE(phrase_head, c * 2 * p);
        TAKE(phrase_head_bias, c);
    }
#undef TAKE
    l.size = at;
    return l;
}

int64_t dense_size(network_shape shape)
{
    return layout_of(shape).size;
}

/* Distinct rows of a batch that one part owns, in the order of their first appearance, those that occur as
   words before those that occur in n-grams alone, and where each of them occurs. */
typedef struct {
    int64_t n_slots, n_word_slots, base; /* of this part's slots among all parts' */
    int32_t *rows;      /* (slots,) */
    int64_t *starts;    /* (slots + 1,) */
    int32_t *texts;     /* (entries,) number of the text within the batch, by slot */
    int32_t *places;    /* (entries,) place among the batch's words; -1 for an n-gram */
} owned_rows;

/* One feature of a batch. */
typedef struct {
    int32_t row, text, place; /* place as above */
    int32_t slot;             /* of the row, once its owner has numbered it */
} occurrence;

typedef struct {
    network_shape shape;
    network_state state;
    ragged_texts texts;
    const int64_t *labels, *order; /* order is NULL where texts come as they are */
    int64_t n_order, batch_size;
    const training_settings *training; /* NULL for prediction */
    float *logits_out;
    layout at;

    /* of the batch at hand */
    int64_t first, n_texts; /* in the order */
    int64_t step;           /* of this call */
    uint64_t key;           /* of its random numbers */
    int64_t *token_start, *n_tokens, *word_start, *n_words; /* (B,) */
    int32_t *tokens;        /* kept features of each text from its token_start */
    int32_t *word_slots;    /* slot of each kept word from its text's word_start */
    float *constant, *factor; /* (B, R): the gradient of a row w in a text is constant + factor w */
    float *phrase_values;   /* (slots, 2 P) */
    float *phrase_gradients;/* (words, 2 P) */
    float *transposed;      /* weights as the way forward wants them, at the same places */
    float *gradients;       /* (PARTS, dense size) */
    owned_rows owned[PARTS], pool; /* the parts' lists lie one after the other in the pool's */
    occurrence *occurrences;      /* part by part; within each by owner, the words before the n-grams */
    int64_t counts[PARTS][2][PARTS]; /* n-grams [0] and words [1] of part i's texts whose rows part j owns */
    double loss[PARTS], right[PARTS];
    float *scratch[PARTS];
    int phase;
} session;

#define OWNER(row) ((row) % PARTS)

static int64_t row_width(network_shape shape)
{
    return 2 * shape.width;
}

/* Texts that part number `part` works on: from *first to *last of the batch. */
static void texts_of_part(const session *s, int64_t part, int64_t *first, int64_t *last)
{
    *first = s->n_texts * part / PARTS;
    *last = s->n_texts * (part + 1) / PARTS;
}

static int64_t text_number(const session *s, int64_t text)
{
    return s->order ? s->order[s->first + text] : s->first + text;
}

/* ---- the features of a batch ---- */

/* Keep a text's features, leaving some out in training. */
static void keep_features(session *s, int64_t b)
{
    int64_t text = text_number(s, b), begin = s->texts.offsets[text];
    int64_t n_all = s->texts.offsets[text + 1] - begin, n_ordered = s->texts.n_ordered[text];
    const int32_t *ids = s->texts.ids + begin;
    int32_t *kept = s->tokens + s->token_start[b];
    uint64_t least = s->training ? (uint64_t)((double)s->training->token_dropout * 0x1p24) : 0;
    if (!least) {
        memcpy(kept, ids, (size_t)n_all * sizeof *kept);
        s->n_tokens[b] = n_all;
        s->n_words[b] = n_ordered;
        return;
    }
    uint64_t key = random_bits(s->key, (uint64_t)b);
    int64_t n_kept = 0, end = n_ordered;
    for (int64_t i = 0; i < n_all; end = n_all) {
        for (; i < end; i++) {
            kept[n_kept] = ids[i];
            n_kept += random_bits(key, (uint64_t)i) >> 40 >= least;
        }
        if (end == n_ordered)
            s->n_words[b] = n_kept;
    }
    s->n_tokens[b] = n_kept;
    if (!n_all)
        s->n_words[b] = 0;
}

/* Keep the features of a part's texts, and sort them by the owner of their rows. */
static void gather_features(session *s, int64_t part)
{
    int64_t first, last;
    texts_of_part(s, part, &first, &last);
    int64_t(*counts)[PARTS] = s->counts[part];
    memset(counts, 0, sizeof s->counts[part]);
    for (int64_t b = first; b < last; b++) {
        keep_features(s, b);
        const int32_t *tokens = s->tokens + s->token_start[b];
        for (int64_t i = 0; i < s->n_tokens[b]; i++)
            counts[i < s->n_words[b]][OWNER(tokens[i])]++;
    }
    if (!s->training && !s->shape.phrase_width)
        return;
    occurrence *next[2][PARTS], *at = s->occurrences + (first < last ? s->token_start[first] : 0);
    for (int owner = 0; owner < PARTS; owner++)
        for (int words = 1; words >= 0; at += counts[words--][owner])
            next[words][owner] = at;
    for (int64_t b = first; b < last; b++) {
        const int32_t *tokens = s->tokens + s->token_start[b];
        for (int64_t i = 0; i < s->n_tokens[b]; i++) {
            int word = i < s->n_words[b];
            int32_t place = word ? (int32_t)(s->word_start[b] + i) : -1;
            *next[word][OWNER(tokens[i])]++ = (occurrence){tokens[i], (int32_t)b, place, 0};
        }
    }
}

/* Where the occurrences lie that part number `part` gathered for an owner: words, or n-grams. */
static occurrence *occurrences_of(const session *s, int64_t part, int64_t owner, int words)
{
    int64_t first, last;
    texts_of_part(s, part, &first, &last);
    occurrence *at = s->occurrences + (first < last ? s->token_start[first] : 0);
    for (int64_t i = 0; i < owner; i++)
        at += s->counts[part][0][i] + s->counts[part][1][i];
    return words ? at : at + s->counts[part][1][owner];
}

/* Number the distinct rows that a part owns, and sort their occurrences by row. */
static void find_distinct_rows(session *s, int64_t part)
{
    owned_rows *own = &s->owned[part];
    int64_t base = 0;
    for (int64_t owner = 0; owner < part; owner++)
        for (int64_t i = 0; i < PARTS; i++)
            base += s->counts[i][0][owner] + s->counts[i][1][owner];
    own->base = base;
    own->rows = s->pool.rows + base;
    own->starts = s->pool.starts + base + part; /* each part needs one start more than it has slots */
    own->texts = s->pool.texts + base;
    own->places = s->pool.places + base;
    int32_t n_slots = 0, *slots = s->state.slots;
    for (int words = 1; words >= 0; words--) {
        for (int64_t i = 0; i < PARTS; i++) {
            occurrence *found = occurrences_of(s, i, part, words), *end = found + s->counts[i][words][part];
            for (; found < end; found++) {
                if (end - found > AHEAD)
                    __builtin_prefetch(slots + found[AHEAD].row, 1);
                int32_t slot = slots[found->row];
                if (slot < 0) {
                    slot = slots[found->row] = n_slots;
                    own->rows[n_slots] = found->row;
                    own->starts[n_slots++] = 0;
                }
                own->starts[slot]++;
                found->slot = slot;
                if (words)
                    s->word_slots[found->place] = (int32_t)base + slot;
            }
        }
        if (words)
            own->n_word_slots = n_slots;
    }
    own->n_slots = n_slots;
    int64_t n_entries = 0;
    for (int32_t slot = 0; slot < n_slots; slot++) { /* counts become starts, slots are -1 again */
        int64_t count = own->starts[slot];
        own->starts[slot] = n_entries;
        n_entries += count;
        slots[own->rows[slot]] = -1;
    }
    if (!s->training)
        return;
    for (int words = 1; words >= 0; words--)
        for (int64_t i = 0; i < PARTS; i++) {
            occurrence *found = occurrences_of(s, i, part, words), *end = found + s->counts[i][words][part];
            for (; found < end; found++) {
                int64_t entry = own->starts[found->slot]++;
                own->texts[entry] = found->text;
                own->places[entry] = found->place;
            }
        }
    memmove(own->starts + 1, own->starts, (size_t)n_slots * sizeof *own->starts);
    own->starts[0] = 0; /* filling moved each start to the next one's */
}

/* Variants of the phrase level, once for each distinct word that the part owns. */
static void phrase_variants(session *s, int64_t part)
{
    owned_rows *own = &s->owned[part];
    int64_t r = row_width(s->shape), n = 2 * s->shape.phrase_width;
    float *rows = s->scratch[part];
    for (int64_t slot = 0; slot < own->n_word_slots; slot += ROWS_AT_ONCE) {
        int64_t count = own->n_word_slots - slot < ROWS_AT_ONCE ? own->n_word_slots - slot : ROWS_AT_ONCE;
        for (int64_t i = 0; i < count; i++)
            memcpy(rows + i * r, s->state.embedding + own->rows[slot + i] * r, (size_t)r * sizeof *rows);
        linear(count, n, r, rows, s->transposed + s->at.variants, s->state.dense + s->at.variants_bias,
               s->phrase_values + (own->base + slot) * n);
    }
}

/* ---- waves ---- */

INLINE void ask_for(const float *row, int64_t width)
{
    for (int64_t k = 0; k < width; k += 16)
        __builtin_prefetch(row + k);
}

/* Of `vectors` times eight columns from column k; the sums stay in registers. */
#define WAVE_OF_COLUMNS(vectors)                                                                      \
    do {                                                                                              \
        v8 first[vectors], sum[vectors], squares[vectors];                                            \
        for (int v = 0; v < vectors; v++) {                                                           \
            first[v] = READ(rows + (ids ? ids[0] : 0) * width + k + 8 * v);                           \
            sum[v] = squares[v] = ALL(0.0f);                                                          \
        }                                                                                             \
        for (int64_t i = 1; i < n; i++) {                                                             \
            const float *row = rows + (ids ? ids[i] : i) * width + k;                                 \
            if (ids && !k && i + AHEAD < n)                                                           \
                ask_for(rows + ids[i + AHEAD] * width, width);                                        \
            for (int v = 0; v < vectors; v++) {                                                       \
                v8 step = READ(row + 8 * v) - first[v];                                               \
                sum[v] += step;                                                                       \
                squares[v] += step * step;                                                            \
            }                                                                                         \
        }                                                                                             \
        for (int v = 0; v < vectors; v++) {                                                           \
            v8 shift = sum[v] * share, variance = squares[v] * share - shift * shift;                 \
            AT(mean + k + 8 * v) = first[v] + shift;                                                  \
            for (int j = 0; j < 8; j++)                                                               \
                deviation[k + 8 * v + j] = variance[j] > 0 ? sqrtf(variance[j]) : 0.0f;               \
        }                                                                                             \
    } while (0)

/* Mean and standard deviation of n rows, with differences taken from the first row: a text that repeats
   one token has a deviation of exactly zero. rows[i] is the i-th row where `ids` is NULL. */
HOT static void text_wave(const float *rows, const int32_t *ids, int64_t n, int64_t width, float *mean,
                          float *deviation)
{
    if (!n) {
        memset(mean, 0, (size_t)width * sizeof *mean);
        memset(deviation, 0, (size_t)width * sizeof *deviation);
        return;
    }
    float share = 1.0f / (float)n;
    for (int64_t i = 1; ids && i < n && i < AHEAD; i++)
        ask_for(rows + ids[i] * width, width);
    for (int64_t k = 0; k < width; k += 32) {
        int64_t vectors = width - k < 32 ? (width - k) / 8 : 4;
        if (vectors == 4)
            WAVE_OF_COLUMNS(4);
        else if (vectors == 3)
            WAVE_OF_COLUMNS(3);
        else if (vectors == 2)
            WAVE_OF_COLUMNS(2);
        else
            WAVE_OF_COLUMNS(1);
    }
}

/* From the gradients at mean and deviation to `constant` and `factor`: the gradient at a row w of the text
   is constant + factor w. */
HOT static void text_wave_backward(int64_t n, int64_t width, const float *mean, const float *deviation,
                                   const float *d_mean, const float *d_deviation, float *constant,
                                   float *factor)
{
    float share = n ? 1.0f / (float)n : 0.0f;
    for (int64_t k = 0; k < width; k++) {
        float ratio = deviation[k] > 0 ? d_deviation[k] * share / deviation[k] : 0.0f;
        constant[k] = d_mean[k] * share - mean[k] * ratio;
        factor[k] = ratio;
    }
}

/* Overlay of two waves: out = (Re, Im), 2 * width numbers. */
HOT static void overlay(int modulates, int64_t width, const float *real, const float *imaginary,
                        const float *real2, const float *imaginary2, float *out)
{
    for (int64_t k = 0; k < width; k++) {
        float w = real[k], s = imaginary[k], w2 = real2[k], s2 = imaginary2[k];
        out[k] = modulates ? w * w2 - s * s2 : w + w2;
        out[width + k] = modulates ? w * s2 + w2 * s : s + s2;
    }
}

HOT static void overlay_backward(int modulates, int64_t width, const float *real, const float *imaginary,
                                 const float *real2, const float *imaginary2, const float *d_out,
                                 float *d_real, float *d_imaginary, float *d_real2, float *d_imaginary2)
{
    for (int64_t k = 0; k < width; k++) {
        float a = d_out[k], b = d_out[width + k];
        d_real[k] = modulates ? a * real2[k] + b * imaginary2[k] : a;
        d_imaginary[k] = modulates ? b * real2[k] - a * imaginary2[k] : b;
        d_real2[k] = modulates ? a * real[k] + b * imaginary[k] : a;
        d_imaginary2[k] = modulates ? b * real[k] - a * imaginary[k] : b;
    }
}

/* Magnitude of the neighbours of each of n words on one side; rows are `stride` floats apart. */
HOT static void neighbours(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                           int64_t stride, float *magnitude)
{
    for (int64_t j = 0; j < n; j++) {
        int64_t low = left ? (j > radius ? j - radius : 0) : j + 1;
        int64_t high = left ? j : (n - 1 - j > radius ? j + radius + 1 : n);
        for (int64_t k = 0; k < width; k += 8) {
            v8 sum = ALL(0.0f);
            for (int64_t i = low; i < high; i++) {
                v8 value = READ(values + i * stride + k);
                sum += value * value;
            }
            for (int v = 0; v < 8; v++)
                magnitude[j * width + k + v] = sqrtf(sum[v]);
        }
    }
}

/* Add to each word's gradient what its neighbours' magnitudes give it; d_magnitude is overwritten. */
HOT static void neighbours_backward(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                                    int64_t stride, const float *magnitude, float *d_magnitude,
                                    float *d_values)
{
    for (int64_t i = 0; i < n * width; i++)
        d_magnitude[i] = magnitude[i] > 0 ? d_magnitude[i] / magnitude[i] : 0.0f;
    for (int64_t j = 0; j < n; j++) { /* a left neighbour sees word j from its right */
        int64_t low = left ? j + 1 : (j > radius ? j - radius : 0);
        int64_t high = left ? (n - 1 - j > radius ? j + radius + 1 : n) : j;
        for (int64_t k = 0; k < width; k += 8) {
            v8 sum = ALL(0.0f);
            for (int64_t i = low; i < high; i++)
                sum += READ(d_magnitude + i * width + k);
            AT(d_values + j * stride + k) += READ(values + j * stride + k) * sum;
        }
    }
}

/* ---- one part's texts, forward and back ---- */

/* Drop numbers with a probability, and scale the others up; factors are kept for the way back. */
static void drop(float probability, uint64_t key, int64_t first, int64_t n, float *x, float *factors)
{
    float kept = 1.0f / (1.0f - probability);
    for (int64_t i = 0; i < n; i++) {
        factors[i] = uniform(key, (uint64_t)(first + i)) < probability ? 0.0f : kept;
        x[i] *= factors[i];
    }
}

/* Loss and right answers of M texts; logits become the gradient of the batch's mean loss. */
static void cross_entropy(session *s, int64_t part, int64_t first, int64_t M, float *logits)
{
    int64_t c = s->shape.n_classes;
    float smoothing = s->training->label_smoothing, share = 1.0f / (float)s->n_texts;
    for (int64_t m = 0; m < M; m++, logits += c) {
        int64_t label = s->labels[text_number(s, first + m)], best = 0;
        for (int64_t k = 1; k < c; k++)
            if (logits[k] > logits[best])
                best = k;
        double sum = 0.0, all = 0.0;
        float highest = logits[best];
        for (int64_t k = 0; k < c; k++) {
            sum += exp((double)(logits[k] - highest));
            all += logits[k] - highest;
        }
        double log_sum = log(sum), own = logits[label] - highest;
        s->loss[part] += log_sum - (1.0 - smoothing) * own - smoothing * all / (double)c;
        s->right[part] += best == label;
        for (int64_t k = 0; k < c; k++) {
            float target = (k == label ? 1.0f - smoothing : 0.0f) + smoothing / (float)c;
            logits[k] = ((float)(exp((double)(logits[k] - highest)) / sum) - target) * share;
        }
    }
}

/* Scratch memory of a group of M texts with W words; taken in this order. */
typedef struct {
    float *mean, *deviation;             /* (M, R) */
    float *waves, *state, *normal, *inverse, *out, *out_factors; /* text level */
    float *logits;                       /* (M, C) */
    float *d_out, *d_state, *d_waves, *d_mean, *d_deviation;
    float *variants, *left, *right, *overlays, *phrase_normal, *phrase_inverse, *normed, *mixed, *states,
        *slope; /* phrase level, for each word */
    float *phrase_text, *phrase_factors, *d_phrase; /* (M, 2 P) */
    float *pooled_mean, *pooled_deviation, *phrase_constant, *phrase_factor; /* (M, P) */
    int64_t size;
} group_memory;

static group_memory memory_of_group(network_shape shape, int64_t M, int64_t W, float *start)
{
    int64_t d = shape.width, r = 2 * d, p = shape.phrase_width, c = shape.n_classes, at = 0;
    group_memory g;
#define TAKE(name, count) g.name = start ? start + at : 0, at += ((count) + 7) / 8 * 8
    TAKE(mean, M * r);
    TAKE(deviation, M * r);
    TAKE(waves, M * 2 * d);
    TAKE(state, M * d);
    TAKE(normal, M * d);
    TAKE(inverse, M);
    TAKE(out, M * d);
    TAKE(out_factors, M * d);
    TAKE(logits, M * c);
    TAKE(d_out, M * d);
    TAKE(d_state, M * d);
    TAKE(d_waves, M * 2 * d);
    TAKE(d_mean, M * r);
    TAKE(d_deviation, M * r);
    TAKE(variants, W * 2 * p);
    TAKE(left, W * p);
    TAKE(right, W * p);
    TAKE(overlays, W * 2 * p);
    TAKE(phrase_normal, W * 2 * p);
    TAKE(phrase_inverse, W);
    TAKE(normed, W * 2 * p);
    TAKE(mixed, W * p);
    TAKE(states, W * p);
    TAKE(slope, W * p);
    TAKE(phrase_text, M * 2 * p);
    TAKE(phrase_factors, M * 2 * p);
    TAKE(d_phrase, M * 2 * p);
    TAKE(pooled_mean, M * p);
    TAKE(pooled_deviation, M * p);
    TAKE(phrase_constant, M * p);
    TAKE(phrase_factor, M * p);
#undef TAKE
    g.size = at;
    return g;
}

/* State of each text from the sums over its features, and its logits. */
static void text_forward(session *s, int64_t first, int64_t M, group_memory g)
{
    int64_t d = s->shape.width, r = 2 * d, c = s->shape.n_classes;
    const float *weights = s->state.dense;
    for (int64_t m = 0; m < M; m++) {
        float *mean = g.mean + m * r, *deviation = g.deviation + m * r;
        text_wave(s->state.embedding, s->tokens + s->token_start[first + m], s->n_tokens[first + m], r, mean,
                  deviation);
        overlay(s->shape.modulates, d, mean, deviation, mean + d, deviation + d, g.waves + m * 2 * d);
    }
    linear(M, d, 2 * d, g.waves, s->transposed + s->at.restore, weights + s->at.restore_bias, g.state);
    normalise(M, d, g.state, weights + s->at.norm, weights + s->at.norm_bias, g.out, g.normal, g.inverse);
    if (s->training && s->training->dropout > 0)
        drop(s->training->dropout, random_bits(s->key, UINT64_MAX), first * d, M * d, g.out, g.out_factors);
    linear(M, c, d, g.out, s->transposed + s->at.head, weights + s->at.head_bias, g.logits);
}

static void text_backward(session *s, int64_t first, int64_t M, group_memory g, float *gradients)
{
    int64_t d = s->shape.width, r = 2 * d, c = s->shape.n_classes;
    const float *weights = s->state.dense;
    linear_backward(M, c, d, g.logits, g.out, weights + s->at.head, g.d_out, gradients + s->at.head,
                    gradients + s->at.head_bias);
    if (s->training->dropout > 0)
        for (int64_t i = 0; i < M * d; i++)
            g.d_out[i] *= g.out_factors[i];
    normalise_backward(M, d, g.d_out, g.normal, g.inverse, weights + s->at.norm, g.d_state,
                       gradients + s->at.norm, gradients + s->at.norm_bias);
    linear_backward(M, d, 2 * d, g.d_state, g.waves, weights + s->at.restore, g.d_waves,
                    gradients + s->at.restore, gradients + s->at.restore_bias);
    for (int64_t m = 0; m < M; m++) {
        float *mean = g.mean + m * r, *deviation = g.deviation + m * r;
        float *d_mean = g.d_mean + m * r, *d_deviation = g.d_deviation + m * r;
        overlay_backward(s->shape.modulates, d, mean, deviation, mean + d, deviation + d, g.d_waves + m * 2 * d,
                         d_mean, d_deviation, d_mean + d, d_deviation + d);
        text_wave_backward(s->n_tokens[first + m], r, mean, deviation, d_mean, d_deviation,
                           s->constant + (first + m) * r, s->factor + (first + m) * r);
    }
}

/* States of the words from the waves of their neighbours; the text they make is read out as a wave. */
static void phrase_forward(session *s, int64_t first, int64_t M, int64_t W, group_memory g)
{
    int64_t p = s->shape.phrase_width, c = s->shape.n_classes, radius = s->shape.radius, word = 0;
    const float *weights = s->state.dense;
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        const int32_t *slots = s->word_slots + s->word_start[first + m];
        float *variants = g.variants + word * 2 * p;
        for (int64_t i = 0; i < n; i++)
            memcpy(variants + i * 2 * p, s->phrase_values + slots[i] * 2 * p, (size_t)(2 * p) * sizeof(float));
        neighbours(n, p, radius, 1, variants, 2 * p, g.left + word * p);
        neighbours(n, p, radius, 0, variants + p, 2 * p, g.right + word * p);
        word += n;
    }
    for (int64_t w = 0; w < W; w++)
        overlay(s->shape.modulates, p, g.variants + w * 2 * p, g.left + w * p, g.variants + w * 2 * p + p,
                g.right + w * p, g.overlays + w * 2 * p);
    normalise(W, 2 * p, g.overlays, weights + s->at.phrase_norm, weights + s->at.phrase_norm_bias, g.normed,
              g.phrase_normal, g.phrase_inverse);
    linear(W, p, 2 * p, g.normed, s->transposed + s->at.mix, weights + s->at.mix_bias, g.mixed);
    gelu(W * p, g.mixed, g.states, g.slope);
    word = 0;
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        float *mean = g.pooled_mean + m * p, *deviation = g.pooled_deviation + m * p;
        text_wave(g.states + word * p, 0, n, p, mean, deviation);
        memcpy(g.phrase_text + m * 2 * p, mean, (size_t)p * sizeof(float));
        memcpy(g.phrase_text + m * 2 * p + p, deviation, (size_t)p * sizeof(float));
        word += n;
    }
    if (s->training && s->training->dropout > 0)
        drop(s->training->dropout, random_bits(s->key, UINT64_MAX - 1), first * 2 * p, M * 2 * p, g.phrase_text,
             g.phrase_factors);
    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < c; k++)
            g.logits[m * c + k] += weights[s->at.phrase_head_bias + k];
    multiply(M, c, 2 * p, g.phrase_text, 2 * p, 1, s->transposed + s->at.phrase_head, c, g.logits, c, 1);
}

static void phrase_backward(session *s, int64_t first, int64_t M, int64_t W, group_memory g, float *gradients)
{
    int64_t p = s->shape.phrase_width, c = s->shape.n_classes, radius = s->shape.radius, word = 0;
    const float *weights = s->state.dense;
    linear_backward(M, c, 2 * p, g.logits, g.phrase_text, weights + s->at.phrase_head, g.d_phrase,
                    gradients + s->at.phrase_head, gradients + s->at.phrase_head_bias);
    if (s->training->dropout > 0)
        for (int64_t i = 0; i < M * 2 * p; i++)
            g.d_phrase[i] *= g.phrase_factors[i];
    float *d_mixed = g.mixed; /* not needed any more on the way back */
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        float *constant = g.phrase_constant + m * p, *factor = g.phrase_factor + m * p;
        text_wave_backward(n, p, g.pooled_mean + m * p, g.pooled_deviation + m * p, g.d_phrase + m * 2 * p,
                           g.d_phrase + m * 2 * p + p, constant, factor);
        for (int64_t i = word; i < word + n; i++)
            for (int64_t k = 0; k < p; k++)
                d_mixed[i * p + k] = (constant[k] + factor[k] * g.states[i * p + k]) * g.slope[i * p + k];
        word += n;
    }
    float *d_normed = g.overlays; /* not needed any more either */
    linear_backward(W, p, 2 * p, d_mixed, g.normed, weights + s->at.mix, d_normed, gradients + s->at.mix,
                    gradients + s->at.mix_bias);
    float *d_overlays = g.normed;
    normalise_backward(W, 2 * p, d_normed, g.phrase_normal, g.phrase_inverse, weights + s->at.phrase_norm,
                       d_overlays, gradients + s->at.phrase_norm, gradients + s->at.phrase_norm_bias);
    float *d_left = g.states, *d_right = g.slope;
    word = 0;
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        const float *variants = g.variants + word * 2 * p;
        float *d_variants = s->phrase_gradients + s->word_start[first + m] * 2 * p;
        float *left = g.left + word * p, *right = g.right + word * p;
        for (int64_t i = 0; i < n; i++)
            overlay_backward(s->shape.modulates, p, variants + i * 2 * p, left + i * p, variants + i * 2 * p + p,
                             right + i * p, d_overlays + (word + i) * 2 * p, d_variants + i * 2 * p,
                             d_left + (word + i) * p, d_variants + i * 2 * p + p, d_right + (word + i) * p);
        neighbours_backward(n, p, radius, 1, variants, 2 * p, left, d_left + word * p, d_variants);
        neighbours_backward(n, p, radius, 0, variants + p, 2 * p, right, d_right + word * p, d_variants + p);
        word += n;
    }
}

/* What a part owns of the batch's rows, before any text is looked at. */
static void distinct_rows(session *s, int64_t part)
{
    find_distinct_rows(s, part);
    if (s->shape.phrase_width)
        phrase_variants(s, part);
}

/* All of a part's texts, a group of some tokens at a time. */
static void texts_forward_and_back(session *s, int64_t part)
{
    int64_t first, last, p = s->shape.phrase_width;
    texts_of_part(s, part, &first, &last);
    while (first < last) {
        int64_t end = first, W = 0;
        for (; end < last && (end == first || W + (p ? s->n_words[end] : 0) <= TOKENS_AT_ONCE); end++)
            W += p ? s->n_words[end] : 0;
        int64_t M = end - first;
        group_memory g = memory_of_group(s->shape, M, W, s->scratch[part]);
        text_forward(s, first, M, g);
        if (p)
            phrase_forward(s, first, M, W, g);
        if (s->training) {
            float *gradients = s->gradients + part * s->at.size;
            cross_entropy(s, part, first, M, g.logits);
            text_backward(s, first, M, g, gradients);
            if (p)
                phrase_backward(s, first, M, W, g, gradients);
        } else {
            int64_t c = s->shape.n_classes;
            memcpy(s->logits_out + (s->first + first) * c, g.logits, (size_t)(M * c) * sizeof(float));
        }
        first = end;
    }
}

/* ---- updates ---- */

/* Of `vectors` times eight columns of a row from column k: the gradients of all its occurrences, and a step. */
#define UPDATE_COLUMNS(vectors)                                                                       \
    do {                                                                                              \
        v8 constant[vectors], factor[vectors];                                                        \
        for (int v = 0; v < vectors; v++)                                                             \
            constant[v] = factor[v] = ALL(0.0f);                                                      \
        if (given)                                                                                    \
            for (int v = 0; v < vectors; v++)                                                         \
                constant[v] = READ(given + k + 8 * v);                                                \
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

/* One step of gradient descent on the rows that a part owns, each visited once. */
HOT static void update_rows(session *s, int64_t part)
{
    owned_rows *own = &s->owned[part];
    int64_t r = row_width(s->shape), n = 2 * s->shape.phrase_width;
    float *gradient = s->scratch[part], *rows = gradient + ROWS_AT_ONCE * r, *d_values = rows + ROWS_AT_ONCE * r;
    float *gradients = s->gradients + part * s->at.size;
    float rate = s->training->row_rate * s->training->rate_factors[s->step];
    for (int64_t slot = 0; slot < own->n_slots; slot += ROWS_AT_ONCE) {
        int64_t end = slot + ROWS_AT_ONCE < own->n_slots ? slot + ROWS_AT_ONCE : own->n_slots;
        int64_t n_words = n ? (end < own->n_word_slots ? end : own->n_word_slots) - slot : 0;
        if (n_words > 0) {
            memset(d_values, 0, (size_t)(n_words * n) * sizeof(float));
            for (int64_t i = 0; i < n_words; i++) {
                for (int64_t e = own->starts[slot + i]; e < own->starts[slot + i + 1]; e++)
                    if (own->places[e] >= 0)
                        for (int64_t k = 0; k < n; k += 8)
                            AT(d_values + i * n + k) += READ(s->phrase_gradients + own->places[e] * n + k);
                memcpy(rows + i * r, s->state.embedding + own->rows[slot + i] * r, (size_t)r * sizeof(float));
            }
            linear_backward(n_words, n, r, d_values, rows, s->state.dense + s->at.variants, gradient,
                            gradients + s->at.variants, gradients + s->at.variants_bias);
        }
        for (int64_t i = slot; i < end; i++) {
            float *row = s->state.embedding + own->rows[i] * r;
            const float *given = i - slot < n_words ? gradient + (i - slot) * r : 0;
            const int32_t *texts = own->texts + own->starts[i];
            int64_t n_texts = own->starts[i + 1] - own->starts[i], k = 0;
            float own_rate = rate * s->training->row_rates[own->rows[i]];
            if (i + AHEAD < own->n_slots) {
                ask_for(s->state.embedding + own->rows[i + AHEAD] * r, r);
                __builtin_prefetch(s->training->row_rates + own->rows[i + AHEAD]);
            }
            for (; k + 32 <= r; k += 32)
                UPDATE_COLUMNS(4);
            for (; k < r; k += 8)
                UPDATE_COLUMNS(1);
        }
    }
}

/* Sum the parts' gradients, in order, over one range of the dense part, and take Adam's step there. */
static void update_dense(session *s, int64_t part)
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

/* Weights for the way forward. */
static void transpose_weights(session *s, int64_t item)
{
    int64_t d = s->shape.width, p = s->shape.phrase_width, c = s->shape.n_classes;
    const struct {
        int64_t at, n, k;
    } weights[] = {{s->at.restore, d, 2 * d},
                   {s->at.head, c, d},
                   {s->at.variants, 2 * p, 2 * d},
                   {s->at.mix, p, 2 * p},
                   {s->at.phrase_head, c, 2 * p}};
    if (item < (p ? 5 : 2))
        transpose(weights[item].n, weights[item].k, s->state.dense + weights[item].at,
                  s->transposed + weights[item].at);
}

/* ---- the flow of a batch ---- */

/* Where the batch ends that begins with text number `first` of the order. In prediction a batch ends early
   where its texts are long, so that memory is bounded by 65,536 features or by one text. */
static int64_t end_of_batch(const session *s, int64_t first)
{
    int64_t last = s->n_order - first < s->batch_size ? s->n_order : first + s->batch_size, end = first;
    if (s->training)
        return last;
    for (int64_t features = 0; end < last; end++) {
        features += s->texts.offsets[end + 1] - s->texts.offsets[end];
        if (features > FEATURES_IN_PREDICTION && end > first)
            break;
    }
    return end;
}

static void begin_batch(session *s)
{
    s->n_texts = end_of_batch(s, s->first) - s->first;
    int64_t token = 0, word = 0;
    for (int64_t b = 0; b < s->n_texts; b++) {
        int64_t text = text_number(s, b);
        s->token_start[b] = token;
        s->word_start[b] = word;
        token += s->texts.offsets[text + 1] - s->texts.offsets[text];
        word += s->texts.n_ordered[text];
    }
    if (s->training)
        s->key = random_bits(s->training->seed, (uint64_t)(s->training->first_step + s->step));
}

enum { GATHER, DISTINCT, TEXTS, ROWS, DENSE, N_KINDS };

/* Settle what comes next; 0 when all texts are through. */
static int64_t next_phase(void *argument)
{
    session *s = argument;
    for (;;) {
        s->phase = (s->phase + 1) % N_KINDS;
        switch (s->phase) {
        case GATHER:
            s->first += s->n_texts;
            s->step += s->n_texts > 0;
            if (s->first >= s->n_order)
                return 0;
            begin_batch(s);
            return PARTS + 5;
        case DISTINCT:
            if (s->training || s->shape.phrase_width)
                return PARTS;
            break;
        case TEXTS:
            return PARTS;
        default:
            if (s->training)
                return PARTS;
        }
    }
}

static void do_item(void *argument, int64_t item)
{
    session *s = argument;
    switch (s->phase) {
    case GATHER:
        item < PARTS ? gather_features(s, item) : transpose_weights(s, item - PARTS);
        break;
    case DISTINCT:
        distinct_rows(s, item);
        break;
    case TEXTS:
        texts_forward_and_back(s, item);
        break;
    case ROWS:
        update_rows(s, item);
        break;
    default:
        update_dense(s, item);
    }
}

/* Most features and most words of any batch, and most words of any text that each part works on. */
static void largest_batch(session *s, int64_t *features, int64_t *words, int64_t *longest)
{
    *features = *words = 1;
    memset(longest, 0, PARTS * sizeof *longest);
    for (int64_t first = 0, end; first < s->n_order; first = end) {
        int64_t n_features = 0, n_words = 0;
        end = end_of_batch(s, first);
        for (int64_t i = first; i < end; i++) {
            int64_t text = s->order ? s->order[i] : i;
            n_features += s->texts.offsets[text + 1] - s->texts.offsets[text];
            n_words += s->texts.n_ordered[text];
        }
        s->first = first;
        s->n_texts = end - first;
        for (int64_t part = 0; part < PARTS; part++) {
            int64_t begin, last;
            texts_of_part(s, part, &begin, &last);
            for (int64_t b = begin; b < last; b++) {
                int64_t n = s->texts.n_ordered[text_number(s, b)];
                longest[part] = n > longest[part] ? n : longest[part];
            }
        }
        *features = n_features > *features ? n_features : *features;
        *words = n_words > *words ? n_words : *words;
    }
    s->first = s->n_texts = 0;
}

/* Take memory for the largest batch, run all, and give it back. */
static int run_session(session *s, int n_threads)
{
    int64_t features, words, longest[PARTS], r = row_width(s->shape), p = s->shape.phrase_width;
    s->at = layout_of(s->shape);
    if (s->batch_size > s->n_order)
        s->batch_size = s->n_order > 0 ? s->n_order : 1;
    largest_batch(s, &features, &words, longest);
    int64_t B = s->batch_size, scratch[PARTS], for_rows = ROWS_AT_ONCE * (2 * r + 2 * p);
    for (int part = 0; part < PARTS; part++) {
        int64_t in_group = longest[part] > TOKENS_AT_ONCE ? longest[part] : TOKENS_AT_ONCE;
        scratch[part] = memory_of_group(s->shape, B / PARTS + 1, p ? in_group : 0, 0).size;
        scratch[part] = scratch[part] < for_rows ? for_rows : scratch[part];
    }
    char *memory = 0;
    for (int real = 0; real < 2; real++) { /* first to count, then to hand out */
        size_t at = 0;
#define TAKE(pointer, count)                                                                          \
    (pointer) = real ? (void *)(memory + at) : 0, at += ((size_t)(count) * sizeof *(pointer) + 63) / 64 * 64
        TAKE(s->token_start, B);
        TAKE(s->n_tokens, B);
        TAKE(s->word_start, B);
        TAKE(s->n_words, B);
        TAKE(s->tokens, features + 1);
        TAKE(s->word_slots, words);
        TAKE(s->transposed, s->at.size);
        for (int part = 0; part < PARTS; part++)
            TAKE(s->scratch[part], scratch[part]);
        if (s->training || p) {
            TAKE(s->pool.rows, features);
            TAKE(s->pool.starts, features + PARTS + 1);
            TAKE(s->pool.texts, features);
            TAKE(s->pool.places, features);
            TAKE(s->occurrences, features);
            TAKE(s->phrase_values, features * 2 * p);
        }
        if (s->training) {
            TAKE(s->constant, B * r);
            TAKE(s->factor, B * r);
            TAKE(s->phrase_gradients, words * 2 * p);
            TAKE(s->gradients, PARTS * s->at.size);
        }
#undef TAKE
        if (!real && !(memory = malloc(at)))
            return -1;
    }
    if (s->training)
        memset(s->gradients, 0, (size_t)(PARTS * s->at.size) * sizeof(float));
    s->phase = N_KINDS - 1;
    run_phases(n_threads < PARTS ? n_threads : PARTS, next_phase, do_item, s);
    free(memory);
    return 0;
}

int train_network(network_shape shape, network_state state, ragged_texts texts, const int64_t *labels,
                  const int64_t *order, int64_t n_order, training_settings settings, int n_threads,
                  double *totals)
{
    session s = {.shape = shape, .state = state, .texts = texts, .labels = labels, .order = order,
                 .n_order = n_order, .batch_size = settings.batch_size, .training = &settings};
    if (run_session(&s, n_threads))
        return -1;
    for (int part = 0; part < PARTS; part++) {
        totals[0] += s.loss[part];
        totals[1] += s.right[part];
    }
    return 0;
}

int network_logits(network_shape shape, network_state state, ragged_texts texts, int n_threads, float *logits)
{
    session s = {.shape = shape, .state = state, .texts = texts, .n_order = texts.n_texts,
                 .batch_size = TEXTS_IN_PREDICTION, .logits_out = logits};
    return run_session(&s, n_threads);
}
