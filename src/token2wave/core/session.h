/* What the parts of training share while texts go through: see training.c for the flow. */
#ifndef TOKEN2WAVE_SESSION_H
#define TOKEN2WAVE_SESSION_H

#include "training.h"

/* Work is cut into as many parts as this whatever the number of threads, and sums are taken in the order
   of the parts: so the result does not depend on the number of threads. */
#define PARTS 8
#define TOKENS_CHUNK 128 /* of one part's texts, so that their states stay in the cache */
#define ROWS_CHUNK 48
#define AHEAD 8 /* rows lie anywhere in memory: they are asked for so many rows before they are needed */

/* Distinct rows of a batch that one part owns, in the order of their first appearance, those that occur as
   words before those that occur in n-grams alone, and where each of them occurs. */
typedef struct {
    int64_t n_slots, n_word_slots, base; /* of this part's slots among all parts' */
    int32_t *rows;      /* (slots,) */
    int64_t *starts;    /* (slots + 1,) */
    int32_t *texts;     /* (entries,) number of the text within the batch, by slot; batch_size for a word that
                           the context branch alone sees */
    int32_t *places;    /* (entries,) place among the batch's words; -1 for an n-gram */
} owned_rows;

/* One feature of a batch. */
typedef struct {
    int32_t row, text, place; /* as above */
    int32_t slot;             /* of the row, once its owner has numbered it */
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

    /* of the batch at hand */
    int64_t first, n_texts; /* in the order */
    int64_t step;           /* of this call */
    uint64_t key;           /* of its random numbers */
    int64_t *token_start, *n_tokens, *word_start, *n_words, *n_kept_words; /* (B,) */
    int32_t *tokens;        /* kept features of each text from its token_start */
    int32_t *word_slots;    /* slot of each word of the context branch from its text's word_start */
    float *constant, *factor; /* (B + 1, R): the gradient of a row w in a text is constant + factor w; the
                                 last is zero */
    float *context_values;   /* (slots, 2 P) */
    float *context_gradients;/* (words, 2 P) */
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

/* Texts that part number `part` works on: from *first to *last of the batch. */
INLINE void texts_of_part(const session *s, int64_t part, int64_t *first, int64_t *last)
{
    *first = s->n_texts * part / PARTS;
    *last = s->n_texts * (part + 1) / PARTS;
}

INLINE int64_t text_number(const session *s, int64_t text)
{
    return s->order[s->first + text];
}

/* batch.c: keep the features of a part's texts, and sort them by the owner of their rows. */
void gather_features(session *s, int64_t part);
/* batch.c: number the distinct rows that a part owns, and sort their occurrences by row. */
void find_distinct_rows(session *s, int64_t part);

/* texts.c: variants of the context branch, once for each distinct word that the part owns. */
void context_variants(session *s, int64_t part);
/* texts.c: all of a part's texts, a group of some tokens at a time. */
void texts_forward_and_back(session *s, int64_t part);
/* texts.c: floats of scratch memory for M texts of a group with W words. */
int64_t scratch_of_group(network_shape shape, int64_t M, int64_t W);

/* updates.c: one step of gradient descent on the rows that a part owns, each visited once. */
void update_rows(session *s, int64_t part);
/* updates.c: sum the parts' gradients over one range of the dense part, and take Adam's step there. */
void update_dense(session *s, int64_t part);
/* updates.c: one of the five weights for the way forward. */
void transpose_weights(session *s, int64_t item);

/* Ask for a row before it is needed. */
INLINE void ask_for(const float *row, int64_t width)
{
    for (int64_t k = 0; k < width; k += 16)
        __builtin_prefetch(row + k);
}

#endif
