/* Word features of a model: from a text to rows of the embedding, a few hundred tokens at a time. */
#pragma once

#include "text.h"

#define TOKENS_READ 256 /* in one call, so that memory does not grow with the text */
#define MAX_NGRAMS 5
#define MAX_FEATURES_READ (TOKENS_READ * MAX_NGRAMS + 1)

/* Which of 64 buckets are rows, and how many of the buckets before them are. */
typedef struct {
    uint64_t is_row;
    int64_t n_before;
} bucket_block;

typedef struct {
    letter_table table;
    bucket_block *blocks; /* (2^bits / 64,) */
    int64_t n_rows;       /* with that of [CLS] */
    int ngrams, bits, cls;
} word_index;

/* Make an index of `n` increasing buckets below 2^bits. Returns 0, or -1 if memory ran out. */
int make_index(word_index *index, const uint32_t *buckets, int64_t n);
void free_index(word_index *index);

/* The state of read_features in a text. */
typedef struct {
    text_reader text;
    int has_begun, n_carried;
    uint64_t hashes[MAX_NGRAMS + TOKENS_READ]; /* those carried over from the last call, and new ones */
} feature_reader;

void begin_features(feature_reader *reader, const char *utf8, size_t n_bytes);

/* Write the rows of the next features: *n_words words in reading order, then n-grams. Returns their number,
   or -1 if the bytes are not UTF-8.

   ids: room for MAX_FEATURES_READ.
   more: whether to call again; a call may find no row at all. */
int64_t read_features(const word_index *index, feature_reader *reader, int32_t *ids, int64_t *n_words,
                      int *more);
