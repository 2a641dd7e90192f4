#include "training.h"

#include <stdlib.h>

#include "session.h"
#include "threads.h"

/* Where the batch ends that starts at `first` of the order. */
static int64_t end_of_batch(const session *s, int64_t first)
{
    return s->n_order - first < s->batch_size ? s->n_order : first + s->batch_size;
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
        word += n_words_seen(s, text);
    }
    s->key = random_bits(s->training->seed, (uint64_t)(s->training->first_step + s->step));
}

enum { GATHER, DISTINCT, TEXTS, ROWS, DENSE, N_PHASES };

/* Move on to the next phase, and return its number of items; 0 after the last batch. */
static int64_t next_phase(void *argument)
{
    session *s = argument;
    s->phase = (s->phase + 1) % N_PHASES;
    if (s->phase != GATHER)
        return PARTS;
    s->first += s->n_texts;
    s->step += s->n_texts > 0;
    if (s->first >= s->n_order)
        return 0;
    begin_batch(s);
    return PARTS + 5;
}

static void do_item(void *argument, int64_t item)
{
    session *s = argument;
    switch (s->phase) {
    case GATHER:
        item < PARTS ? gather_features(s, item) : transpose_weights(s, item - PARTS);
        break;
    case DISTINCT:
        find_distinct_rows(s, item);
        if (s->shape.context_width)
            context_variants(s, item);
        break;
    case TEXTS:
        forward_backward(s, item);
        break;
    case ROWS:
        update_rows(s, item);
        break;
    default:
        update_dense(s, item);
    }
}

/* Find the largest numbers of features and of words of a batch, and for each part the most words of a text.
   */
static void largest_batch(session *s, int64_t *features, int64_t *words, int64_t *longest)
{
    *features = *words = 1;
    memset(longest, 0, PARTS * sizeof *longest);
    for (int64_t first = 0, end; first < s->n_order; first = end) {
        int64_t n_features = 0, n_words = 0;
        end = end_of_batch(s, first);
        for (int64_t i = first; i < end; i++) {
            int64_t text = s->order[i];
            n_features += s->texts.offsets[text + 1] - s->texts.offsets[text];
            n_words += n_words_seen(s, text);
        }
        s->first = first;
        s->n_texts = end - first;
        for (int64_t part = 0; part < PARTS; part++) {
            int64_t begin, last;
            texts_of_part(s, part, &begin, &last);
            for (int64_t b = begin; b < last; b++) {
                int64_t n = n_words_seen(s, text_number(s, b));
                longest[part] = n > longest[part] ? n : longest[part];
            }
        }
        *features = n_features > *features ? n_features : *features;
        *words = n_words > *words ? n_words : *words;
    }
    s->first = s->n_texts = 0;
}

/* Run all batches, with memory for the largest one. */
static int run_session(session *s, int n_threads)
{
    int64_t features, words, longest[PARTS], r = row_width(s->shape), p = s->shape.context_width;
    s->at = layout_of(s->shape);
    if (s->batch_size > s->n_order)
        s->batch_size = s->n_order > 0 ? s->n_order : 1;
    largest_batch(s, &features, &words, longest);
    int64_t B = s->batch_size, scratch[PARTS], for_rows = ROWS_CHUNK * (2 * r + 2 * p);
    for (int part = 0; part < PARTS; part++) {
        int64_t in_group = longest[part] > TOKENS_CHUNK ? longest[part] : TOKENS_CHUNK;
        scratch[part] = group_memory_size(s->shape, B / PARTS + 1, p ? in_group : 0);
        scratch[part] = scratch[part] < for_rows ? for_rows : scratch[part];
    }
    char *memory = 0;
    for (int real = 0; real < 2; real++) { /* first count, then assign */
        size_t at = 0;
#define TAKE(pointer, count)                                                                          \
    (pointer) = real ? (void *)(memory + at) : 0, at += ((size_t)(count) * sizeof *(pointer) + 63) / 64 * 64
        TAKE(s->token_start, B);
        TAKE(s->n_tokens, B);
        TAKE(s->word_start, B);
        TAKE(s->n_words, B);
        TAKE(s->first_word, B);
        TAKE(s->n_kept_words, B);
        TAKE(s->tokens, features + 1);
        TAKE(s->word_slots, words);
        TAKE(s->transposed, s->at.size);
        for (int part = 0; part < PARTS; part++)
            TAKE(s->scratch[part], scratch[part]);
        TAKE(s->pool.rows, features);
        TAKE(s->pool.starts, features + PARTS + 1);
        TAKE(s->pool.texts, features);
        TAKE(s->pool.positions, features);
        TAKE(s->occurrences, features);
        TAKE(s->context_values, features * 2 * p);
        TAKE(s->constant, (B + 1) * r);
        TAKE(s->factor, (B + 1) * r);
        TAKE(s->context_gradients, words * 2 * p);
        TAKE(s->gradients, PARTS * s->at.size);
#undef TAKE
        if (!real && !(memory = malloc(at)))
            return -1;
    }
    memset(s->gradients, 0, (size_t)(PARTS * s->at.size) * sizeof(float));
    memset(s->constant + B * r, 0, (size_t)r * sizeof(float));
    memset(s->factor + B * r, 0, (size_t)r * sizeof(float));
    s->phase = N_PHASES - 1;
    run_phases(n_threads < PARTS ? n_threads : PARTS, next_phase, do_item, s);
    free(memory);
    return 0;
}

int train_network(network_shape shape, network_state state, ragged_texts texts, truth truth,
                  const int64_t *order, int64_t n_order, training_settings settings, int n_threads,
                  double *totals)
{
    session s = {.shape = shape, .state = state, .texts = texts, .truth = truth, .order = order,
                 .n_order = n_order, .batch_size = settings.batch_size, .training = &settings};
    if (run_session(&s, n_threads))
        return -1;
    for (int part = 0; part < PARTS; part++) {
        totals[0] += s.loss[part];
        totals[1] += s.right[part];
    }
    return 0;
}
