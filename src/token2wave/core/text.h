/* From text to hashed features. features/text.py defines them; the slow twin must agree bit for bit. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Finaliser of SplitMix64. */
static inline uint64_t mix(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBu;
    return hash ^ (hash >> 31);
}

#define N_CODE_POINTS 0x110000
#define N_ASCII 0x80

/* Class and lower-case letter of every code point, N_CODE_POINTS entries each. */
typedef struct {
    const uint8_t *classes;
    const uint32_t *lower;
    uint16_t ascii[N_ASCII];   /* class << 8 | lower-case letter, which is ASCII, too */
    uint8_t word_letter[256];  /* lower-case letter of each byte that is ASCII of class word, else 0 */
} letter_table;

letter_table letters(const uint8_t *classes, const uint32_t *lower);

/* The state of read_tokens in a text. */
typedef struct {
    const uint8_t *place, *end;
    uint64_t sum;   /* of the current word */
    int length;     /* of that word, in code points */
    int after_word; /* whether the table gives the previous code point class word */
} text_reader;

/* Start to read a text in UTF-8; surrogates are encoded like any other code point. */
text_reader read_text(const char *utf8, size_t n_bytes);

/* Hash the next tokens of the text, at most `room`, which must be two or more. Returns their number, 0 at the
   end of the text, or -1 if the bytes are not UTF-8. */
int64_t read_tokens(text_reader *reader, const letter_table *table, uint64_t *hashes, int64_t room);

/* Write the buckets of a text's words, then of its 2-grams, up to its n-grams; returns their number.

   hashes: of n_words words. The first n_before serve only to start n-grams: features that end in them are
           left out.
   grams: room for n_words numbers.
   buckets: room for n_words * ngrams numbers, the leading `bits` bits of each hash. */
int64_t ngram_buckets(const uint64_t *hashes, int64_t n_before, uint64_t *grams, int64_t n_words, int ngrams,
                      int bits, uint32_t *buckets);

/* ---- from tokens to rows of the embedding, a few hundred at a time ---- */

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
