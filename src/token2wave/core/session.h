/* The state of a training call, which all of its threads share. training.c has the order of the phases. */
#pragma once

#include "training.h"

/* Every batch is cut into this many parts, and sums are taken in the order of the parts: so the result does
   not depend on the number of threads. */
#define PARTS 8
#define TOKENS_CHUNK 128 /* of one part's texts, so that their states stay in the cache */
#define ROWS_CHUNK 48
#define AHEAD 8 /* rows lie anywhere in memory, so they are prefetched this many rows ahead */

/* The distinct rows of a batch that one part owns, by first occurrence, rows of words before those of n-grams
   alone; and all of their occurrences. */
typedef struct {
    int64_t n_slots, n_word_slots, base; /* base: of this part's slots among those of all parts */
    int32_t *rows;      /* (slots,) */
    int64_t *starts;    /* (slots + 1,) */
    int32_t *texts;     /* (entries,) number of the text in the batch; batch_size for a dropped word, which
                           only the context branch sees */
    int32_t *positions; /* (entries,) position among the batch's words; -1 for an n-gram */
} owned_rows;

/* One feature of a batch. */
typedef struct {
    int32_t row, text, position; /* as above */
    int32_t slot;                /* of the row, once its owner has numbered it */
} occurrence;

typedef struct {
    network_shape shape;
    network_state state;
    ragged_texts texts;
    truth truth;
    const int64_t *order;
    int64_t n_order, batch_size;
    const training_settings *training;
    layout at;

    /* of the current batch */
    int64_t first, n_texts; /* in the order */
    int64_t step;           /* of this call */
    uint64_t key;           /* of its random numbers */
    int64_t *token_start, *n_tokens, *word_start, *n_words, *n_kept_words; /* (B,) */
    int64_t *first_word;    /* (B,) where the n_words of the context branch begin in the text */
    int32_t *tokens;        /* kept features of each text from its token_start */
    int32_t *word_slots;    /* slot of each word of the context branch from its text's word_start */
    float *constant, *factor; /* (B + 1, R): a text's gradient at a row w is constant + factor w; the last is
                                 zero */
    float *context_values;   /* (slots, 2 P) */
    float *context_gradients;/* (words, 2 P) */
    float *transposed;      /* weights transposed for the forward pass, at the same offsets */
    float *gradients;       /* (PARTS, dense size) */
    owned_rows owned[PARTS], pool; /* the lists of the parts follow each other in those of the pool */
    occurrence *occurrences;      /* by part, then by owner, words before n-grams */
    int64_t counts[PARTS][2][PARTS]; /* [i][k][j]: n-grams (k = 0) or words (1) of part i that part j owns */
    double loss[PARTS], right[PARTS];
    float *scratch[PARTS];
    int phase;
} session;

#define OWNER(row) ((row) % PARTS)

/* The texts of a part: from *first to *last of the batch. */
INLINE void texts_of_part(const session *s, int64_t part, int64_t *first, int64_t *last)
{
    *first = s->n_texts * part / PARTS;
    *last = s->n_texts * (part + 1) / PARTS;
}

INLINE int64_t text_number(const session *s, int64_t text)
{
    return s->order[s->first + text];
}

/* Words of a text that a step sees: all, or as many as the context branch learns from. */
INLINE int64_t n_words_seen(const session *s, int64_t text)
{
    int64_t n = s->texts.n_ordered[text], most = s->shape.context_width ? s->training->context_words : 0;
    return most > 0 && most < n ? most : n;
}

/* batch.c: draw the token dropout of a part's texts, and sort their features by the owner of their rows. */
void gather_features(session *s, int64_t part);
/* batch.c: number the distinct rows that a part owns, and sort their occurrences by row. */
void find_distinct_rows(session *s, int64_t part);

/* forward_backward.c: compute the context branch's variants of each distinct word that the part owns. */
void context_variants(session *s, int64_t part);
/* forward_backward.c: compute losses and gradients of a part's texts, in groups of about TOKENS_CHUNK words.
   */
void forward_backward(session *s, int64_t part);
/* forward_backward.c: count the floats of scratch memory for M texts of a group with W words. */
int64_t group_memory_size(network_shape shape, int64_t M, int64_t W);

/* updates.c: take a step of gradient descent on the rows that a part owns, each visited once. */
void update_rows(session *s, int64_t part);
/* updates.c: sum the gradients of all parts, in order, over one range of the dense part, and take Adam's
   step. */
void update_dense(session *s, int64_t part);
/* updates.c: transpose one of the five weights for the forward pass. */
void transpose_weights(session *s, int64_t item);

/* Fetch a row into the cache before it is needed. */
INLINE void prefetch_row(const float *row, int64_t width)
{
    for (int64_t k = 0; k < width; k += 16)
        PREFETCH(row + k);
}
