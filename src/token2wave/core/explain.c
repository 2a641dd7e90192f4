#include "explain.h"

#include <stdlib.h>
#include <string.h>

#include "dense.h"
#include "waves.h"

#define PARTS_CHUNK 64 /* between two looks whether to stop */
#define WINDOW (2 * (MAX_NGRAMS - 1)) /* tokens on both sides of a part that share n-grams without it */
#define MAX_IN_WINDOW (WINDOW * MAX_NGRAMS)

/* A text and its sums. n tokens, g the longest n-gram, W words at most. A part is removed by subtracting what
   its tokens add to the sums, and adding what the tokens on both sides add as neighbours. */
typedef struct {
    const explanation *e;
    const compiled_network *t;
    const word_index *index;
    text_work *work;
    summed_text whole;
    int64_t n, n_words, n_sums; /* n_sums: numbers in the sums of a text */
    int64_t longest;            /* n-gram of the text */
#define ARRAYS(X)                                                                                     \
    X(uint64_t, hashes, n + 2) X(token_letters, spelled, n + 2)                                       \
    X(uint64_t, grams, n + WINDOW) X(uint32_t, buckets, n * g + MAX_IN_WINDOW)                        \
    X(int32_t, rows, n * g)        /* of the k-gram that begins at token i at [(k - 1) n + i], or -1 */ \
    X(int32_t, features, n * g + 1) /* of the text, then of the current part */                       \
    X(int32_t, words, W)           /* in reading order, with [CLS] */                                 \
    X(int64_t, n_before, n + 1)    /* words before each token */                                      \
    X(int64_t, first, n + 1)       /* first token of each part, then the number of tokens */          \
    X(double, energy, n) X(uint8_t, has_entries, n)                                                   \
    X(float, states, W * p)                                                                           \
    X(int32_t, near, 4 * radius) X(float, near_states, 2 * radius * p)                                \
    X(double, sums, (PARTS_CHUNK + 2) * s) /* of the text, of what is removed, and without each part */ \
    X(float, scratch, ROWS_EXPANDED * (row_width(t->shape) + t->expansion))
#define DECLARE_ARRAY(type, name, count) type *name;
    ARRAYS(DECLARE_ARRAY)
#undef DECLARE_ARRAY
} text_parts;

/* ---- sums ---- */

static int64_t count_sums(network_shape shape)
{
    return 4 * shape.width + (shape.has_linear_svm ? shape.n_classes : 0) + 2 * shape.context_width;
}

/* Point to the parts of sums at `start`. */
static summed_text sums_at(const text_parts *x, double *start)
{
    network_shape shape = x->t->shape;
    double *svm = start + 4 * shape.width, *context = svm + (shape.has_linear_svm ? shape.n_classes : 0);
    return (summed_text){.first = -1, .sum = start, .squares = start + 2 * shape.width, .linear_svm = svm,
                         .context_sum = context, .context_squares = context + shape.context_width};
}

/* Add features to the sums of a text. The first feature of a network that reads it out is not among the sums
   of the waves. */
HOT static void add_to_sums(const text_parts *x, summed_text *sums, const int32_t *ids, int64_t n)
{
    const compiled_network *t = x->t;
    if (t->shape.linear_variants)
        expand_rows(t, ids, n, x->scratch);
    sums->n_features += n;
    add_rows(variants_of(t), variants_stride(t), ids, n, 2 * t->shape.width, sums->sum, sums->squares);
    if (t->shape.has_linear_svm)
        add_linear_svm(t, sums->linear_svm, ids, n);
}

/* Add the entries of the OOV table of token i, and remember whether there are any. */
static void add_entries(const text_parts *x, summed_text *sums, int64_t i)
{
    int32_t entries[MAX_OOV_ENTRIES];
    if (!x->index->oov.n || x->rows[i] >= 0)
        return;
    int n = oov_entries(x->index, x->hashes[i], x->spelled[i], entries);
    add_oov(x->t, sums->linear_svm, entries, n, 0);
    sums->n_oov += n > 0;
    x->has_entries[i] = n > 0;
}

/* ---- the text ---- */

/* Whether the n-gram of some tokens is a feature: short, or of letters after letters but for the first. */
static int is_feature(const uint64_t *hashes, int64_t n, int ngrams)
{
    for (int64_t i = 1; i < n && n > ngrams; i++)
        if (!(hashes[i] & AFTER_LETTER))
            return 0;
    return 1;
}

HOT static void rows_of_buckets(const word_index *index, const uint32_t *buckets, int64_t n, int32_t *rows)
{
    for (int64_t i = 0; i < n; i++)
        rows[i] = row_of_bucket(index, buckets[i]);
}

/* Number of tokens, or -1 if the text is not UTF-8; and the length of the longest n-gram. */
static int64_t count_tokens(const explanation *e, int64_t *longest)
{
    uint64_t hashes[TOKENS_READ];
    text_reader reader = read_text(e->text.utf8, (size_t)e->text.size);
    int64_t n = 0, n_new;
    uint64_t any = 0;
    while ((n_new = read_tokens(&reader, &e->words->table, hashes, TOKENS_READ)) > 0) {
        n += n_new;
        for (int64_t i = 0; i < n_new; i++)
            any |= hashes[i];
    }
    *longest = e->words->ngrams;
    if (any & AFTER_LETTER && e->words->unspaced_ngrams > *longest)
        *longest = e->words->unspaced_ngrams;
    return n_new < 0 ? -1 : n;
}

/* Read the tokens, and cut them into parts, none of which begins inside a segment of the one before. Writes
   spans of tokens into `spans`, (n, 2) code points. */
static void read_parts(text_parts *x, explanation *e, int64_t *spans)
{
    text_reader reader = read_text(e->text.utf8, (size_t)e->text.size);
    const normal_form *form = e->changed ? &e->form : NULL;
    const uint8_t *at = reader.place;
    read_spelled_tokens(&reader, &x->index->table, x->hashes, x->spelled, x->n + 2);
    int64_t place = 0, group = -1, segment_end = 0, ended = 0;
    for (int64_t i = 0, end = 0; i < x->n; i++) {
        for (; at < x->spelled[i].start; at++) /* bytes that continue a code point are 10xxxxxx */
            place += (*at & 0xC0) != 0x80;
        int64_t last = place + x->spelled[i].n - 1;
        spans[2 * i] = form ? form->origins[place] : place;
        if (form) /* a token goes to the end of the segment of its last letter */
            while (segment_end <= last ||
                   (segment_end < form->n_letters && form->origins[segment_end] == form->origins[last]))
                segment_end++;
        int64_t text_end = form && segment_end < form->n_letters ? form->origins[segment_end] : 0;
        spans[2 * i + 1] = !form ? last + 1 : segment_end < form->n_letters ? text_end : form->n_code_points;
        while (end < e->n_ends && e->ends[end] <= spans[2 * i])
            end++;
        int64_t new_group = e->ends ? end : i;
        if (new_group != group && spans[2 * i] >= ended)
            x->first[e->n_parts++] = i;
        group = new_group;
        ended = spans[2 * i + 1];
    }
    x->first[e->n_parts] = x->n;
    for (int64_t m = 0; m < e->n_parts; m++) {
        int64_t start = spans[2 * x->first[m]], end = spans[2 * x->first[m + 1] - 1];
        spans[2 * m] = start;
        spans[2 * m + 1] = end;
    }
}

/* Look up the rows of all words and n-grams, and add up the whole text. */
static void sum_text(text_parts *x)
{
    const compiled_network *t = x->t;
    int64_t n = x->n, g = x->longest, p = t->shape.context_width, n_features = 0;
    int has_cls = x->index->cls, ngrams = x->index->ngrams;
    ngram_buckets(x->hashes, 0, x->grams, n, ngrams, (int)g, x->index->bits, x->buckets);
    const uint32_t *buckets = x->buckets;
    for (int64_t k = 0; k < g; k++) {
        int64_t n_grams = n > k ? n - k : 0;
        int32_t *rows = x->rows + k * n;
        for (int64_t i = 0; i < n; i++)
            rows[i] = -1;
        if (k < ngrams) {
            rows_of_buckets(x->index, buckets, n_grams, rows);
            buckets += n_grams;
        } else {
            for (int64_t i = 0; i < n_grams; i++)
                if (is_feature(x->hashes + i, k + 1, ngrams))
                    rows[i] = row_of_bucket(x->index, *buckets++);
        }
    }
    if (has_cls)
        x->words[x->n_words++] = 0;
    for (int64_t i = 0; i < n; i++) {
        x->n_before[i] = x->n_words;
        if (x->rows[i] >= 0)
            x->words[x->n_words++] = x->rows[i];
    }
    x->n_before[n] = x->n_words;
    if (has_cls)
        x->features[n_features++] = 0;
    for (int64_t i = 0; i < n * g; i++)
        if (x->rows[i] >= 0)
            x->features[n_features++] = x->rows[i];
    memset(x->sums, 0, (size_t)x->n_sums * sizeof *x->sums);
    x->whole = sums_at(x, x->sums);
    if (t->shape.reads_cls) { /* the waves of [CLS] are read out, not summed; its SVM weights count */
        x->whole.first = 0;
        add_to_sums(x, &x->whole, x->features, 1);
        memset(x->sums, 0, (size_t)(4 * t->shape.width) * sizeof *x->sums);
    }
    add_to_sums(x, &x->whole, x->features + t->shape.reads_cls, n_features - t->shape.reads_cls);
    for (int64_t i = 0; i < n; i++)
        add_entries(x, &x->whole, i);
    if (p) {
        expand_rows(t, x->words, x->n_words, x->scratch);
        states_of_words(t, x->work, x->words, x->n_words, 0, x->n_words, x->states);
        add_rows(x->states, p, 0, x->n_words, p, x->whole.context_sum, x->whole.context_squares);
        x->whole.n_words = x->n_words;
    }
}

/* Find the energy of each token, and share that of an n-gram among its tokens. */
static void sum_energies(text_parts *x, explanation *e)
{
    const compiled_network *t = x->t;
    double total = 0.0;
    memset(x->energy, 0, (size_t)x->n * sizeof *x->energy);
    for (int64_t k = 0; k < x->longest; k++)
        for (int64_t i = 0; i + k < x->n; i++) {
            int64_t row = x->rows[k * x->n + i];
            if (row < 0)
                continue;
            const float *values = variants_of(t) + row * variants_stride(t);
            v4d sum = {0};
            for (int64_t d = 0; d < 2 * t->shape.width; d += 4) {
                v4d value = WIDEN(values + d);
                sum += value * value;
            }
            double energy = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / (double)(k + 1);
            for (int64_t j = i; j <= i + k; j++)
                x->energy[j] += energy;
        }
    for (int64_t i = 0; i < x->n; i++)
        total += x->energy[i];
    for (int64_t m = 0; m < e->n_parts; m++) {
        e->energy[m] = 0.0;
        e->known[m] = 0;
        for (int64_t i = x->first[m]; i < x->first[m + 1]; i++) {
            e->energy[m] += x->energy[i];
            e->known[m] |= x->rows[i] >= 0 || x->has_entries[i];
        }
        if (total > 0)
            e->energy[m] /= total;
    }
}

/* ---- the text without a part ---- */

/* List the rows of n-grams that span the gap between tokens first and last, once these are removed. */
static int64_t list_new_features(const text_parts *x, int64_t first, int64_t last, int32_t *ids)
{
    uint64_t hashes[WINDOW], grams[WINDOW];
    uint32_t buckets[MAX_IN_WINDOW];
    int32_t rows[MAX_IN_WINDOW];
    int64_t reach = x->longest - 1, n_ids = 0;
    int ngrams = x->index->ngrams;
    int64_t n_left = first < reach ? first : reach, n_right = x->n - last < reach ? x->n - last : reach;
    int64_t n = n_left + n_right;
    if (!n_left || !n_right)
        return 0;
    memcpy(hashes, x->hashes + first - n_left, (size_t)n_left * sizeof *hashes);
    memcpy(hashes + n_left, x->hashes + last, (size_t)n_right * sizeof *hashes);
    int64_t n_buckets = ngram_buckets(hashes, 0, grams, n, ngrams, (int)x->longest, x->index->bits, buckets);
    rows_of_buckets(x->index, buckets, n_buckets, rows);
    const int32_t *row = rows + n; /* those of single tokens come first */
    for (int64_t k = 2; k <= x->longest; k++)
        for (int64_t i = 0; i + k <= n; i++) {
            if (!is_feature(hashes + i, k, ngrams))
                continue;
            if (i < n_left && i + k > n_left && *row >= 0)
                ids[n_ids++] = *row;
            row++;
        }
    return n_ids;
}

/* List the rows of all words and n-grams that have one of the tokens first .. last. */
static int64_t list_removed(const text_parts *x, int64_t first, int64_t last, int32_t *ids)
{
    int64_t n_ids = 0;
    for (int64_t k = 0; k < x->longest; k++)
        for (int64_t i = first > k ? first - k : 0; i < last; i++)
            if (x->rows[k * x->n + i] >= 0)
                ids[n_ids++] = x->rows[k * x->n + i];
    return n_ids;
}

/* Replace the states of the words around a gap in the sums, which words first .. last leave. */
static void close_gap(const text_parts *x, summed_text *sums, summed_text *removed, int64_t first,
                      int64_t last)
{
    int64_t p = x->t->shape.context_width, radius = x->t->shape.radius, n = x->n_words;
    int64_t low = first > radius ? first - radius : 0, high = n - last > radius ? last + radius : n;
    int64_t from = low > radius ? low - radius : 0, to = n - high > radius ? high + radius : n;
    int64_t n_left = first - from, n_near = n_left + to - last;
    sums->n_words -= last - first;
    add_rows(x->states + low * p, p, 0, high - low, p, removed->context_sum, removed->context_squares);
    memcpy(x->near, x->words + from, (size_t)n_left * sizeof *x->near);
    memcpy(x->near + n_left, x->words + last, (size_t)(to - last) * sizeof *x->near);
    int64_t n_changed = first - low + high - last;
    states_of_words(x->t, x->work, x->near, n_near, low - from, low - from + n_changed, x->near_states);
    add_rows(x->near_states, p, 0, n_changed, p, sums->context_sum, sums->context_squares);
}

/* Sum the text without a part. What is removed is summed first, so that its rounding is that of one
   subtraction. */
static void sum_without(const text_parts *x, int64_t part, summed_text *without)
{
    int64_t first = x->first[part], last = x->first[part + 1];
    int32_t added[MAX_IN_WINDOW];
    double *sums = without->sum, *removed_sums = x->sums + x->n_sums;
    summed_text removed = sums_at(x, removed_sums);
    memset(removed_sums, 0, (size_t)x->n_sums * sizeof *removed_sums);
    memset(sums, 0, (size_t)x->n_sums * sizeof *sums);
    add_to_sums(x, &removed, x->features, list_removed(x, first, last, x->features));
    add_to_sums(x, without, added, list_new_features(x, first, last, added));
    for (int64_t i = first; i < last; i++)
        add_entries(x, &removed, i);
    without->n_words = x->whole.n_words;
    if (x->t->shape.context_width && x->n_before[first] < x->n_before[last])
        close_gap(x, without, &removed, x->n_before[first], x->n_before[last]);
    for (int64_t k = 0; k < x->n_sums; k++)
        sums[k] += x->sums[k] - removed_sums[k];
    for (int64_t k = 0; k < 2 * x->t->shape.width; k++) /* rounding could make it negative */
        without->squares[k] = without->squares[k] > 0 ? without->squares[k] : 0.0;
    without->first = x->whole.first;
    without->n_features += x->whole.n_features - removed.n_features;
    without->n_oov = x->whole.n_oov - removed.n_oov;
}

static void explain_parts(text_parts *x, explanation *e)
{
    int64_t c = x->t->shape.n_classes;
    summed_text without[PARTS_CHUNK];
    logits_of_sums(x->t, x->work, &x->whole, 1, e->logits);
    while (e->n_done < e->n_parts) {
        int64_t left = e->n_parts - e->n_done, m = left < PARTS_CHUNK ? left : PARTS_CHUNK;
        if (e->should_stop && e->should_stop(e->argument))
            return;
        for (int64_t i = 0; i < m; i++) {
            without[i] = sums_at(x, x->sums + (i + 2) * x->n_sums);
            sum_without(x, e->n_done + i, &without[i]);
        }
        logits_of_sums(x->t, x->work, without, m, e->logits + (1 + e->n_done) * c);
        e->n_done += m;
    }
}

int explain(explanation *e)
{
    const compiled_network *t = e->network;
    size_t size = (size_t)e->text.size;
    e->changed = normalise_text(&e->words->table.unicode, &e->text.utf8, &size, &e->form);
    e->text.size = (int64_t)size;
    if (e->changed < 0)
        return OUT_OF_MEMORY;
    int64_t g, n = count_tokens(e, &g), p = t->shape.context_width, radius = t->shape.radius;
    int64_t W = n + 1, s = count_sums(t->shape);
    if (n < 0)
        return NOT_UTF8;
    text_parts x = {.e = e, .t = t, .index = e->words, .n = n, .n_sums = s, .longest = g};
    x.work = open_text_work(t, PARTS_CHUNK);
    int is_complete = x.work != NULL;
#define ALLOCATE(type, name, count)                                                                   \
    x.name = malloc((size_t)(count) * sizeof(type) + 1);                                              \
    is_complete = is_complete && x.name;
    ARRAYS(ALLOCATE)
#undef ALLOCATE
    e->spans = malloc((size_t)(2 * n + 1) * sizeof *e->spans);
    is_complete = is_complete && e->spans;
    if (is_complete) {
        memset(x.has_entries, 0, (size_t)n);
        read_parts(&x, e, e->spans);
        e->energy = malloc((size_t)(e->n_parts + 1) * sizeof *e->energy);
        e->known = malloc((size_t)(e->n_parts + 1));
        e->logits = malloc((size_t)((1 + e->n_parts) * t->shape.n_classes) * sizeof *e->logits);
        is_complete = e->energy && e->known && e->logits;
    }
    if (is_complete) {
        sum_text(&x);
        sum_energies(&x, e);
        e->is_known = x.whole.n_oov || x.whole.n_features > x.index->cls;
        explain_parts(&x, e);
    }
#define FREE(type, name, count) free(x.name);
    ARRAYS(FREE)
#undef FREE
    free(x.work);
    return is_complete ? PREDICTED : OUT_OF_MEMORY;
}

void free_explanation(explanation *e)
{
    free_normal_form(&e->form);
    free(e->spans);
    free(e->energy);
    free(e->known);
    free(e->logits);
}
