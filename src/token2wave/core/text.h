/* From text to hashed features. features/text.py defines them; the slow twin must agree bit for bit. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "extensions.h"
#include "normal_form.h"

/* Finaliser of SplitMix64. */
static inline uint64_t mix(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBu;
    return hash ^ (hash >> 31);
}

#define N_ASCII 0x80

/* How to read the code points of a text. */
typedef struct {
    unicode_table unicode;
    uint16_t ascii[N_ASCII];  /* class << 8 | folded code point, which is ASCII, too */
    uint8_t word_letter[256]; /* folded code point of each byte that is ASCII of class word, else 0 */
} letter_table;

letter_table letters(unicode_table unicode);

/* The letters of a token: n code points from `start` on. */
typedef struct {
    const uint8_t *start;
    int n;
} token_letters;

/* The state of read_tokens in a text. */
typedef struct {
    const uint8_t *place, *end;
    const uint8_t *word; /* start of the current word */
    uint64_t sum;   /* of that word */
    int length;     /* of that word, in code points */
    int after_word; /* whether the table gives the previous code point class word */
    int after_letter; /* likewise class letter */
} text_reader;

/* Start to read a text in UTF-8, which must be normal (normal_form.h); surrogates are encoded like any other
   code point. */
text_reader read_text(const char *utf8, size_t n_bytes);

/* Hash the next tokens of the text, at most `room`, which must be two or more. Returns their number, 0 at the
   end of the text, or -1 if the bytes are not UTF-8. */
int64_t read_tokens(text_reader *reader, const letter_table *table, uint64_t *hashes, int64_t room);

/* The same with the letters of each token, which are in bytes of the text. */
int64_t read_spelled_tokens(text_reader *reader, const letter_table *table, uint64_t *hashes,
                            token_letters *spelled, int64_t room);

#define MAX_NGRAMS 5
#define AFTER_LETTER 1u /* the bit of a hash: a letter of an unspaced script directly after another */

/* Write the buckets of the features of a text, those of fewer tokens first; returns their number, which is at
   most MAX_NGRAMS times that of words.

   hashes: of n_words words. The first n_before serve only to start n-grams: features that end in them are
           left out.
   grams: room for n_words numbers.
   unspaced_ngrams: longest n-gram in which all tokens but the first are letters after letters.
   buckets: room for MAX_NGRAMS * n_words numbers, the leading `bits` bits of each hash. */
int64_t ngram_buckets(const uint64_t *hashes, int64_t n_before, uint64_t *grams, int64_t n_words, int ngrams,
                      int unspaced_ngrams, int bits, uint32_t *buckets);

/* ---- from tokens to rows of the embedding, a few hundred at a time ---- */

#define TOKENS_READ 256 /* in one call, so that memory does not grow with the text */
#define MAX_FEATURES_READ (TOKENS_READ * MAX_NGRAMS + 1)

/* Which of 64 buckets are rows, and how many of the buckets before them are. */
typedef struct {
    uint64_t is_row;
    int64_t n_before;
} bucket_block;

/* The OOV table: leading 32 bits of the hashes of words and character n-grams. */
typedef struct {
    int64_t n;
    int shift;
    uint32_t *hashes, *starts; /* (n,) increasing; those with h >> shift == i begin at starts[i] */
} oov_index;

typedef struct {
    letter_table table;
    bucket_block *blocks; /* (2^bits / 64,) */
    int64_t n_rows;       /* with that of [CLS] */
    int ngrams, unspaced_ngrams, bits, cls;
    oov_index oov;
} word_index;

/* Make an index of `n` increasing buckets below 2^bits, and of `n_oov` increasing hashes of the OOV table.
   Returns 0, or -1 if memory ran out; free_index must be called all the same. */
int make_index(word_index *index, const uint32_t *buckets, int64_t n, const uint32_t *oov_hashes,
               int64_t n_oov);
void free_index(word_index *index);

#define MAX_OOV_ENTRIES 254 /* n-grams of 2 to 5 letters in a token of 64 code points and two ends */

/* Write the entries of the OOV table of a token without a row; returns their number. entries: room for
   MAX_OOV_ENTRIES. */
int oov_entries(const word_index *index, uint64_t hash, token_letters spelled, int32_t *entries);

/* Whether a token has a row. */
static inline int has_row(const word_index *index, uint64_t hash)
{
    uint64_t bucket = hash >> (64 - index->bits);
    return index->blocks[bucket >> 6].is_row >> (bucket & 63) & 1;
}

/* The row of a bucket, or -1 if it has none. */
static inline int32_t row_of_bucket(const word_index *index, uint32_t bucket)
{
    bucket_block block = index->blocks[bucket >> 6];
    uint64_t bit = (uint64_t)1 << (bucket & 63);
    int32_t row = (int32_t)(block.n_before + COUNT_BITS(block.is_row & (bit - 1)));
    return block.is_row & bit ? row : -1;
}

/* The state of read_features in a text. */
typedef struct {
    text_reader text;
    int has_begun, n_carried;
    uint64_t hashes[MAX_NGRAMS + TOKENS_READ]; /* those carried over from the last call, and new ones */
    /* With an OOV table, the tokens just read that have no row: their number, hashes and letters. */
    int n_missing;
    uint64_t missing[TOKENS_READ];
    token_letters spelled[TOKENS_READ];
} feature_reader;

/* The text must be normal. */
void begin_features(feature_reader *reader, const char *utf8, size_t n_bytes);

/* Write the rows of the next features: *n_words words in reading order, then n-grams. Returns their number,
   or -1 if the bytes are not UTF-8.

   ids: room for MAX_FEATURES_READ.
   more: whether to call again; a call may find no row at all. */
int64_t read_features(const word_index *index, feature_reader *reader, int32_t *ids, int64_t *n_words,
                      int *more);
