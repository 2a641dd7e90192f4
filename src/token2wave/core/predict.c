#include "predict.h"

#include <math.h>
#include <stdlib.h>

#include "dense.h"
#include "session.h"
#include "threads.h"
#include "waves.h"

#ifdef __SANITIZE_ADDRESS__ /* then nobody may touch the gaps between arrays */
#include <sanitizer/asan_interface.h>
#define GAP 64
#else
#define GAP 0
#define ASAN_POISON_MEMORY_REGION(start, size)
#endif

#define TEXTS_CHUNK 32  /* so that weights in the cache serve several texts */
#define WORDS_CHUNK 128 /* so that their states stay in the cache */
#define MAX_ITEMS 32768 /* of a phase, see threads.h */
#define CLEAR(numbers, count) memset(numbers, 0, (size_t)(count) * sizeof *(numbers))

static int64_t room_for_words(const compiled_network *t)
{
    int64_t radius = t->shape.radius;
    return 2 * radius + (radius > WORDS_CHUNK ? radius : WORDS_CHUNK);
}

/* Memory of one item of work: M texts, and W words with their neighbours. d is the width, p that of the
   context branch, c the number of classes, k = c with a linear SVM, else 0. */
#define WORK_SPACE(X)                                                                                 \
    X(float, real, M * 2 * d) X(float, imaginary, M * 2 * d) /* both variants of each text */         \
    X(float, waves, M * 2 * d)                               /* their overlay */                      \
    X(float, state, M * d) X(float, normed, M * d) X(float, unused, M * d)                            \
    X(float, inverse, M > W ? M : W) X(float, logits, M * c)                                          \
    X(double, sum, 2 * d) X(double, squares, 2 * d)          /* of the current text */                \
    X(double, svm_sum, k) X(float, svm_scores, M * k)                                                 \
    X(float, expansion, t->expansion ? ROWS_EXPANDED * (row_width(t->shape) + t->expansion) : 0)      \
    /* the context branch: texts, then words */                                                       \
    X(float, context_text, M * 2 * p) X(double, context_sum, p) X(double, context_squares, p)         \
    X(float, variants, W * 2 * p) X(float, left, W * p) X(float, right, W * p)                        \
    X(float, overlays, W * 2 * p) X(float, context_normed, W * 2 * p)                                 \
    X(float, context_unused, W * 2 * p) X(float, mixed, W * p) X(float, states, W * p)                \
    X(float, slope, W * p)                                                                            \
    X(int32_t, words, p ? W + MAX_FEATURES_READ : 0)         /* not done, after `radius` that are */  \
    X(int32_t, ids, reads_text ? MAX_FEATURES_READ : 0)      /* features just read */                 \
    X(feature_reader, reader, reads_text)

typedef struct {
#define DECLARE(type, name, count) type *name;
    WORK_SPACE(DECLARE)
#undef DECLARE
} work_space;

/* Lay out the memory from `start`, or only count it if start is NULL; returns its size in bytes. */
static size_t lay_out(const compiled_network *t, int64_t M, int reads_text, work_space *w, char *start)
{
    int64_t d = t->shape.width, p = t->shape.context_width, c = t->shape.n_classes;
    int64_t k = t->shape.has_linear_svm ? c : 0, W = p ? room_for_words(t) : 0;
    size_t at = 0;
#define TAKE(type, name, count)                                                                       \
    do {                                                                                              \
        size_t size = (size_t)(count) * sizeof(type), next = at + (size + 63) / 64 * 64 + GAP;        \
        if (start) {                                                                                  \
            w->name = (void *)(start + at);                                                           \
            ASAN_POISON_MEMORY_REGION(start + at + size, next - at - size);                           \
        }                                                                                             \
        at = next;                                                                                    \
    } while (0);
    WORK_SPACE(TAKE)
#undef TAKE
    return at;
}

/* ---- context branch ---- */

typedef struct {
    const int32_t *ids;
    int64_t n, done; /* the first `done` words serve only as neighbours */
} word_window;

/* Add the states of words first .. last of the window to the text's sums. */
static void add_states(const compiled_network *t, work_space *w, const int32_t *ids, int64_t n, int64_t first,
                       int64_t last)
{
    int64_t p = t->shape.context_width, radius = t->shape.radius, e = t->expansion;
    const float *values = context_variants_of(t), *dense = t->dense;
    int64_t low = first > radius ? first - radius : 0, high = n - last > radius ? last + radius : n;
    int64_t near = high - low, from = first - low, m = last - first;
    for (int64_t i = 0; i < near; i++) {
        if (i + AHEAD < near)
            prefetch_row(values + ids[low + i + AHEAD] * e, 2 * p);
        memcpy(w->variants + i * 2 * p, values + ids[low + i] * e, (size_t)(2 * p) * sizeof(float));
    }
    neighbours(near, p, radius, 1, w->variants, 2 * p, w->left);
    neighbours(near, p, radius, 0, w->variants + p, 2 * p, w->right);
    for (int64_t i = from; i < from + m; i++)
        overlay(t->shape.modulates, p, w->variants + i * 2 * p, w->left + i * p, w->variants + i * 2 * p + p,
                w->right + i * p, w->overlays + (i - from) * 2 * p);
    normalise(m, 2 * p, w->overlays, dense + t->at.context_norm, dense + t->at.context_norm_bias,
              w->context_normed, w->context_unused, w->inverse);
    linear(m, p, 2 * p, w->context_normed, t->transposed + t->at.mix, dense + t->at.mix_bias, w->mixed);
    gelu(m * p, w->mixed, w->states, w->slope);
    add_rows(w->states, p, 0, m, p, w->context_sum, w->context_squares);
}

/* Add the states of all words at the end of the text, else of those whose right neighbours are known. */
static void add_ready_words(const compiled_network *t, work_space *w, word_window *window, int is_end)
{
    int64_t radius = t->shape.radius, ready = is_end ? window->n : window->n - radius;
    int64_t n_chunk = room_for_words(t) - 2 * radius;
    while (window->done < ready) {
        int64_t last = ready - window->done < n_chunk ? ready : window->done + n_chunk;
        add_states(t, w, window->ids, window->n, window->done, last);
        window->done = last;
    }
}

/* ---- a text ---- */

typedef struct {
    int64_t n_features, n_words, n_oov; /* the last: tokens with entries of the OOV table */
    int32_t first; /* first feature of the text; -1 before it */
} text_sums;

/* The sums of four classes stay in registers. */
HOT void add_linear_svm(const compiled_network *t, double *sum, const int32_t *ids, int64_t n)
{
    int64_t c = t->shape.n_classes, stride = row_width(t->shape), k = 0;
    const float *values = t->rows + wave_width(t->shape);
    for (; k + 4 <= c; k += 4) {
        v4d total = *(v4d_unaligned *)(sum + k);
        for (int64_t i = 0; i < n; i++)
            total += WIDEN(values + ids[i] * stride + k);
        *(v4d_unaligned *)(sum + k) = total;
    }
    for (; k < c; k++) {
        double total = sum[k];
        for (int64_t i = 0; i < n; i++)
            total += values[ids[i] * stride + k];
        sum[k] = total;
    }
}

void add_oov(const compiled_network *t, double *sum, const int32_t *entries, int64_t n, int32_t first)
{
    int64_t c = t->shape.n_classes;
    const float *values = t->dense + t->at.oov;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < c; k++)
            sum[k] += values[(entries[i] - first) * c + k];
}

/* Add the tokens just read that have no row. */
static void add_missing(const prediction *job, work_space *w, text_sums *sums)
{
    int32_t entries[MAX_OOV_ENTRIES];
    for (int i = 0; i < w->reader->n_missing; i++) {
        int n = oov_entries(job->words, w->reader->missing[i], w->reader->spelled[i], entries);
        add_oov(job->network, w->svm_sum, entries, n, 0);
        sums->n_oov += n > 0;
    }
}

static void add_features(const compiled_network *t, work_space *w, text_sums *sums, const int32_t *ids,
                         int64_t n)
{
    if (!n)
        return;
    if (t->shape.linear_variants)
        expand_rows(t, ids, n, w->expansion);
    sums->n_features += n;
    int64_t n_first = t->shape.reads_cls && sums->first < 0; /* its magnitude is that of all others */
    if (n_first)
        sums->first = *ids;
    add_rows(variants_of(t), variants_stride(t), ids + n_first, n - n_first, 2 * t->shape.width, w->sum,
             w->squares);
    if (t->shape.has_linear_svm)
        add_linear_svm(t, w->svm_sum, ids, n);
}

/* Make the waves of text m of the item from its sums: real and imaginary parts of both variants. */
static void finish_text(const compiled_network *t, work_space *w, const text_sums *sums, int64_t m)
{
    int64_t r = 2 * t->shape.width, p = t->shape.context_width;
    float *real = w->real + m * r, *imaginary = w->imaginary + m * r;
    if (!t->shape.reads_cls) {
        mean_and_deviation(sums->n_features, r, w->sum, w->squares, real, imaginary);
    } else if (sums->first < 0) {
        memset(real, 0, (size_t)r * sizeof *real);
        memset(imaginary, 0, (size_t)r * sizeof *imaginary);
    } else {
        memcpy(real, variants_of(t) + sums->first * variants_stride(t), (size_t)r * sizeof *real);
        for (int64_t k = 0; k < r; k++)
            imaginary[k] = (float)sqrt(w->squares[k]);
    }
    if (t->shape.has_linear_svm) {
        int64_t n = sums->n_features + sums->n_oov;
        double scale = n ? 1.0 / sqrt((double)n) : 0.0;
        for (int64_t k = 0; k < t->shape.n_classes; k++)
            w->svm_scores[m * t->shape.n_classes + k] = (float)(w->svm_sum[k] * scale);
    }
    if (p)
        mean_and_deviation(sums->n_words, p, w->context_sum, w->context_squares, w->context_text + m * 2 * p,
                           w->context_text + m * 2 * p + p);
}

/* Read a text into the sums; returns PREDICTED, NOT_UTF8 or OUT_OF_MEMORY. Memory does not grow with a text in
   its normal form. */
static int read_sums(const prediction *job, work_space *w, int64_t text, normal_form *form, text_sums *sums)
{
    const compiled_network *t = job->network;
    int64_t p = t->shape.context_width, n_words, radius = t->shape.radius;
    word_window window = {.ids = w->words};
    int more = 1;
    const char *utf8 = job->texts[text].utf8;
    size_t size = (size_t)job->texts[text].size;
    if (normalise_text(&job->words->table.unicode, &utf8, &size, form) < 0)
        return OUT_OF_MEMORY;
    begin_features(w->reader, utf8, size);
    while (more) {
        int64_t n = read_features(job->words, w->reader, w->ids, &n_words, &more);
        if (n < 0)
            return NOT_UTF8;
        add_features(t, w, sums, w->ids, n);
        add_missing(job, w, sums);
        if (!p)
            continue;
        expand_rows(t, w->ids, n_words, w->expansion);
        memcpy(w->words + window.n, w->ids, (size_t)n_words * sizeof *w->ids);
        window.n += n_words;
        sums->n_words += n_words;
        add_ready_words(t, w, &window, !more);
        int64_t n_drop = window.done > radius ? window.done - radius : 0; /* no word's neighbours any more */
        memmove(w->words, w->words + n_drop, (size_t)(window.n - n_drop) * sizeof *w->words);
        window.n -= n_drop;
        window.done -= n_drop;
    }
    return PREDICTED;
}

static void ragged_sums(const prediction *job, work_space *w, int64_t text, text_sums *sums)
{
    const compiled_network *t = job->network;
    const int32_t *ids = job->rows.ids + job->rows.offsets[text];
    int64_t n = job->rows.offsets[text + 1] - job->rows.offsets[text], n_oov = 0;
    while (n_oov < n && ids[n - 1 - n_oov] >= t->shape.n_rows)
        n_oov++;
    add_features(t, w, sums, ids, n - n_oov);
    add_oov(t, w->svm_sum, ids + n - n_oov, n_oov, (int32_t)t->shape.n_rows);
    sums->n_oov = job->rows.n_oov_tokens ? job->rows.n_oov_tokens[text] : 0;
    if (t->shape.context_width) {
        word_window window = {.ids = ids, .n = job->rows.n_ordered[text]};
        expand_rows(t, ids, window.n, w->expansion);
        sums->n_words = window.n;
        add_ready_words(t, w, &window, 1);
    }
}

/* ---- an item: some texts ---- */

int64_t numbers_of_text(const prediction *p)
{
    network_shape shape = p->network->shape;
    if (!p->as_waves)
        return shape.n_classes;
    return 2 * shape.width + 2 * shape.context_width + (shape.has_linear_svm ? shape.n_classes : 0);
}

/* Overlay both variants of the waves of M texts. */
static void overlay_texts(const compiled_network *t, work_space *w, int64_t M)
{
    int64_t d = t->shape.width;
    for (int64_t m = 0; m < M; m++) {
        float *real = w->real + m * 2 * d, *imaginary = w->imaginary + m * 2 * d;
        overlay(t->shape.modulates, d, real, imaginary, real + d, imaginary + d, w->waves + m * 2 * d);
    }
}

/* Write what the branches see of M texts: both waves, and the scores of the linear SVM without its bias. */
static void write_waves(const prediction *job, work_space *w, int64_t M, float *out)
{
    const compiled_network *t = job->network;
    int64_t r = 2 * t->shape.width, p = 2 * t->shape.context_width, k = numbers_of_text(job) - r - p;
    overlay_texts(t, w, M);
    for (int64_t m = 0; m < M; m++, out += r + p + k) {
        memcpy(out, w->waves + m * r, (size_t)r * sizeof *out);
        memcpy(out + r, w->context_text + m * p, (size_t)p * sizeof *out);
        for (int64_t i = 0; i < k; i++)
            out[r + p + i] = w->svm_scores[m * k + i] * t->dense[t->at.linear_svm + i];
    }
}

/* Turn the waves of M texts into logits or probabilities. */
static void logits_of_texts(const prediction *job, work_space *w, int64_t M, float *out)
{
    const compiled_network *t = job->network;
    int64_t d = t->shape.width, p = t->shape.context_width, c = t->shape.n_classes;
    const float *dense = t->dense;
    overlay_texts(t, w, M);
    if (t->shape.restore == RESTORE_LINEAR)
        linear(M, d, 2 * d, w->waves, t->transposed + t->at.restore, dense + t->at.restore_bias, w->state);
    else
        for (int64_t m = 0; m < M; m++)
            for (int64_t k = 0; k < d; k++) {
                float re = w->waves[m * 2 * d + k], im = w->waves[m * 2 * d + d + k];
                w->state[m * d + k] = t->shape.restore == RESTORE_REAL ? re : sqrtf(re * re + im * im);
            }
    normalise(M, d, w->state, dense + t->at.norm, dense + t->at.norm_bias, w->normed, w->unused, w->inverse);
    linear(M, c, d, w->normed, t->transposed + t->at.head, dense + t->at.head_bias, w->logits);
    if (p) {
        for (int64_t m = 0; m < M; m++)
            for (int64_t k = 0; k < c; k++)
                w->logits[m * c + k] += dense[t->at.context_head_bias + k];
        multiply(M, c, 2 * p, w->context_text, 2 * p, 1, t->transposed + t->at.context_head, c, w->logits, c,
                 1);
    }
    if (t->shape.has_linear_svm)
        for (int64_t i = 0; i < M * c; i++)
            w->logits[i] += w->svm_scores[i] * dense[t->at.linear_svm + i % c] +
                            dense[t->at.linear_svm_bias + i % c];
    memcpy(out, w->logits, (size_t)(M * c) * sizeof *out);
    if (!job->as_probabilities)
        return;
    if (t->shape.is_multi_label) {
        for (int64_t i = 0; i < M * c; i++)
            out[i] = (float)(1.0 / (1.0 + exp(-(double)out[i])));
        return;
    }
    for (int64_t m = 0; m < M; m++, out += c) {
        float highest = out[0];
        for (int64_t k = 1; k < c; k++)
            highest = out[k] > highest ? out[k] : highest;
        double sum = 0.0;
        for (int64_t k = 0; k < c; k++)
            sum += exp((double)(out[k] - highest));
        for (int64_t k = 0; k < c; k++)
            out[k] = (float)(exp((double)(out[k] - highest)) / sum);
    }
}

typedef struct {
    prediction *job;
    int64_t first, n_items; /* of this phase */
    int64_t n_texts;        /* of an item */
    atomic_int outcome;
} run;

static void predict_item(void *argument, int64_t item)
{
    run *r = argument;
    prediction *job = r->job;
    const compiled_network *t = job->network;
    int64_t d = t->shape.width, p = t->shape.context_width;
    int64_t first = r->first + item * r->n_texts, left = job->n_texts - first;
    int64_t M = left < r->n_texts ? left : r->n_texts;
    work_space w = {0};
    char *memory = malloc(lay_out(t, M, job->words != 0, &w, 0));
    if (!memory) {
        atomic_store(&r->outcome, OUT_OF_MEMORY);
        return;
    }
    lay_out(t, M, job->words != 0, &w, memory);
    normal_form form = {0};
    for (int64_t m = 0; m < M; m++) {
        text_sums sums = {.first = -1};
        CLEAR(w.sum, 2 * d);
        CLEAR(w.squares, 2 * d);
        CLEAR(w.svm_sum, t->shape.has_linear_svm ? t->shape.n_classes : 0);
        CLEAR(w.context_sum, p);
        CLEAR(w.context_squares, p);
        int outcome = PREDICTED;
        if (job->words)
            outcome = read_sums(job, &w, first + m, &form, &sums);
        else
            ragged_sums(job, &w, first + m, &sums);
        if (outcome != PREDICTED)
            atomic_store(&r->outcome, outcome);
        if (job->known)
            job->known[first + m] = sums.n_oov || sums.n_features > job->words->cls;
        finish_text(t, &w, &sums, m);
    }
    (job->as_waves ? write_waves : logits_of_texts)(job, &w, M, job->out + first * numbers_of_text(job));
    free_normal_form(&form);
    free(memory);
}

static int64_t next_texts(void *argument)
{
    run *r = argument;
    r->first += r->n_items * r->n_texts;
    int64_t left = r->job->n_texts - r->first;
    int64_t most = MAX_ITEMS * r->n_texts, n = left < most ? left : most;
    r->n_items = (n + r->n_texts - 1) / r->n_texts;
    return r->n_items;
}

int predict(prediction *job, int n_threads)
{
    run r = {.job = job, .n_texts = TEXTS_CHUNK};
    while (r.n_texts > 1 && job->n_texts < 2 * r.n_texts * n_threads) /* few texts, perhaps long ones */
        r.n_texts /= 2;
    run_phases(n_threads, next_texts, predict_item, &r);
    return atomic_load(&r.outcome);
}

/* ---- for explain.c ---- */

struct text_work {
    work_space space;
};

#define HEADER ((sizeof(text_work) + 63) / 64 * 64)

text_work *open_text_work(const compiled_network *t, int64_t n_texts)
{
    work_space counted = {0};
    text_work *work = malloc(HEADER + lay_out(t, n_texts, 0, &counted, 0));
    if (!work)
        return NULL;
    work->space = counted;
    lay_out(t, n_texts, 0, &work->space, (char *)work + HEADER);
    CLEAR(work->space.context_sum, t->shape.context_width);
    CLEAR(work->space.context_squares, t->shape.context_width);
    return work;
}

void logits_of_sums(const compiled_network *t, text_work *work, const summed_text *texts, int64_t n,
                    float *logits)
{
    work_space w = work->space;
    prediction job = {.network = t};
    for (int64_t m = 0; m < n; m++) {
        text_sums sums = {texts[m].n_features, texts[m].n_words, texts[m].n_oov, texts[m].first};
        w.sum = texts[m].sum;
        w.squares = texts[m].squares;
        w.svm_sum = texts[m].linear_svm;
        w.context_sum = texts[m].context_sum;
        w.context_squares = texts[m].context_squares;
        finish_text(t, &w, &sums, m);
    }
    logits_of_texts(&job, &w, n, logits);
}

void states_of_words(const compiled_network *t, text_work *work, const int32_t *ids, int64_t n, int64_t first,
                     int64_t last, float *states)
{
    int64_t p = t->shape.context_width, n_chunk = room_for_words(t) - 2 * t->shape.radius;
    for (; first < last; first += n_chunk, states += n_chunk * p) {
        int64_t m = last - first < n_chunk ? last - first : n_chunk;
        add_states(t, &work->space, ids, n, first, first + m); /* its sums are of no use here */
        memcpy(states, work->space.states, (size_t)(m * p) * sizeof *states);
    }
}
