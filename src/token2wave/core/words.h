/* Word features of a model: from a text to rows of its tables, a few hundred tokens at a time. */
#ifndef TOKEN2WAVE_WORDS_H
#define TOKEN2WAVE_WORDS_H

#include "text.h"

#define TOKENS_READ 256 /* at once, so that memory does not grow with the text */
#define MAX_NGRAMS 5
#define MAX_FEATURES_READ (TOKENS_READ * MAX_NGRAMS + 1)

/* Which of 64 buckets are rows, and how many buckets before them are. */
typedef struct {
    uint64_t is_row;
    int64_t n_before;
} bucket_block;

typedef struct {
    letter_table table;
    bucket_block *blocks; /* (2^bits / 64,) */
    int64_t n_rows;       /* that of [CLS] included */
    int ngrams, bits, cls;
} word_index;

/* Make an index of `n` increasing buckets below 2^bits. Returns 0, or -1 where memory ran out. */
int make_index(word_index *index, const uint32_t *buckets, int64_t n);
void free_index(word_index *index);

/* A text on its way through read_features. */
typedef struct {
    text_reader text;
    int begun, n_carried;
    uint64_t hashes[MAX_NGRAMS + TOKENS_READ]; /* those carried over, and the new ones */
} feature_reader;

void begin_features(feature_reader *reader, const char *utf8, size_t n_bytes);

/* Rows of the next features: first words in reading order, *n_words of them, then n-grams.

   ids: room for MAX_FEATURES_READ.
   more: whether to call again; a text may have features of no row at all.
   Returns how many there are, or -1 where the bytes are no UTF-8. */
int64_t read_features(const word_index *index, feature_reader *reader, int32_t *ids, int64_t *n_words,
                      int *more);

#endif
